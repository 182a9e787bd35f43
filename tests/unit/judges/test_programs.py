"""The command lines of the judges that need a GPU, as far as they can be known without one."""

from __future__ import annotations

from pathlib import Path

from genrm.settings import Settings
from judges.options import Options
from judges.programs import KINDS

READ = 1024
"""Tokens that a problem and its solution may have."""


def words(server: str, **options: object) -> list[str]:
    """What is run."""
    return list(KINDS[server].program(Options(server, **options), 1234).command)  # type: ignore[arg-type]


def test_vllm_computes_in_float32_and_has_room_for_a_reply() -> None:
    command = words("vllm", memory=0.4)
    assert command[command.index("--dtype") + 1] == "float32"
    assert command[command.index("--gpu-memory-utilization") + 1] == "0.4"
    assert int(command[command.index("--max-model-len") + 1]) >= Settings().max_tokens + READ


def test_sglang_is_left_its_type_and_gives_its_memory_back() -> None:
    command = words("sglang", dp_size=2)
    assert "--dtype" not in command
    assert command[command.index("--dp-size") + 1] == "2"
    assert {"--enable-memory-saver", "--enable-weights-cpu-backup"} <= set(command)


def test_each_is_on_as_many_gpus_as_it_has_workers() -> None:
    assert KINDS["sglang"].gpus(Options("sglang", dp_size=3)) == 3
    assert KINDS["vllm"].gpus(Options("vllm", dp_size=3)) == 1
    assert KINDS["mock-sglang"].gpus(Options("mock-sglang", dp_size=3)) == 0


def test_a_folder_with_a_model_is_what_a_container_reads(tmp_path: Path) -> None:
    for server in ("vllm", "sglang"):
        assert tmp_path in KINDS[server].program(Options(server, model=str(tmp_path)), 1).reads
