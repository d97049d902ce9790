"""The PyTorch stack."""
