"""`python -m model`, and `torchrun --nproc-per-node=8 -m model pretrain …`."""

from model.cli import main

main()
