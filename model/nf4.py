"""NF4: four bits a weight on the quantiles of a normal distribution, a scale for each block of 64 (QLoRA, section 3)."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

BLOCK = 64
# QLoRA, appendix E: the quantiles of N(0, 1), each half on its own so that zero is exact, scaled to [-1, 1].
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


class NF4Weight(nn.Module):
    """A frozen matrix in NF4; called, it gives the matrix back, in the dtype it was made from."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.shape, self.dtype = weight.shape, weight.dtype
        codes, scales = quantize(weight)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)

    def forward(self) -> Tensor:
        return dequantize(self.codes, self.scales, self.shape).to(self.dtype)


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes (ceil(n / 128) x 64,) uint8, two weights a byte, and float32 scales (blocks,), the greatest of each block."""
    flat = weight.detach().float().flatten()
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % (2 * BLOCK))).view(-1, BLOCK)
    scales = blocks.abs().amax(dim=1)
    scaled = blocks / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    levels = _levels(weight.device)
    # The nearest level: how many midpoints between levels lie below.
    codes = torch.bucketize(scaled, (levels[1:] + levels[:-1]) / 2).flatten().to(torch.uint8)
    return codes[0::2] << 4 | codes[1::2], scales


def dequantize(codes: Tensor, scales: Tensor, shape: torch.Size) -> Tensor:
    """The weights, float32, in `shape`."""
    both = torch.stack([codes >> 4, codes & 15], dim=1).flatten().long()
    blocks = _levels(codes.device)[both].view(-1, BLOCK) * scales[:, None]
    return blocks.flatten()[: shape.numel()].view(shape)


@cache
def _levels(device: torch.device) -> Tensor:
    return torch.tensor(LEVELS, device=device)
