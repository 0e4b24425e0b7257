"""What devices can do, and cost: for MFU and for plans. Dense bfloat16 with float32 accumulation, no sparsity."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # plans are made where torch is not installed
    import torch


class Device(NamedTuple):
    """Peak FLOP/s, memory in bytes, and what an hour costs to rent (USD, typical list prices of 2025; override them)."""

    flops: float
    memory: float
    hour_price: float


# Peaks from the makers' data sheets. Looked up by the name that the driver reports: first match wins.
DEVICES: dict[str, Device] = {
    "B200": Device(2250e12, 180e9, 5.50),
    "H200": Device(989e12, 141e9, 3.50),
    "H100 PCIe": Device(756e12, 80e9, 2.40),
    "H100": Device(989e12, 80e9, 2.99),
    "A100": Device(312e12, 80e9, 1.79),
    "MI300X": Device(1307e12, 192e9, 3.00),
    "L40S": Device(362e12, 48e9, 1.00),
    "L4": Device(121e12, 24e9, 0.60),
    "A10": Device(125e12, 24e9, 0.75),
    "RTX 5090": Device(209.5e12, 32e9, 0.70),
    "RTX 4090": Device(165.2e12, 24e9, 0.40),
    "RTX 3090": Device(71e12, 24e9, 0.22),
}


def peak_flops(device: torch.device) -> float | None:
    """The device's peak in FLOP/s, None where the table does not know it."""
    if device.type != "cuda":
        return None
    name = device_name(device)
    return next((known.flops for key, known in DEVICES.items() if key in name), None)


def device_name(device: torch.device) -> str:
    """As the driver names it; for a CPU how many threads compute."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
