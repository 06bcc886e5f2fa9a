"""Synthetic chest X-rays, and the small backbone pretrained on them."""
