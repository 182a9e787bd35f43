"""The servers that the mock is compared with: one module for each, all that parity must know about it."""

from __future__ import annotations

from parity.products.product import Flavour, Product
from parity.products.sglang import SGLANG
from parity.products.vllm import VLLM

PRODUCTS = {product.name: product for product in (VLLM, SGLANG)}

__all__ = ["PRODUCTS", "SGLANG", "VLLM", "Flavour", "Product"]
