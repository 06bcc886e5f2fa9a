"""Synthetic chest X-rays, and the small backbone that is pretrained on them."""
