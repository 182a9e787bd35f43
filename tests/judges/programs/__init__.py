"""The kinds of judge servers: one module for each product, all that the launchers must know about it."""

from __future__ import annotations

from judges.programs.hf import HF
from judges.programs.mock import MOCK, MOCK_SGLANG
from judges.programs.program import Kind, Program
from judges.programs.sglang import SGLANG
from judges.programs.vllm import VLLM, VLLM_CPU

KINDS = {kind.name: kind for kind in (VLLM, SGLANG, VLLM_CPU, HF, MOCK, MOCK_SGLANG)}

__all__ = ["HF", "KINDS", "MOCK", "MOCK_SGLANG", "SGLANG", "VLLM", "VLLM_CPU", "Kind", "Program"]
