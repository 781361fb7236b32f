import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recon.models import CARDS, _class
from recon.models.memory import available, in_words, is_refusal
from recon.scene import View

GIGABYTE = 1 << 30


def machine(root: Path, files: dict[str, str]) -> Path:
    """The files of a machine with 16 GiB left and a process that holds one."""
    usual = {
        "proc/meminfo": f"MemTotal: {32 * GIGABYTE // 1024} kB\nMemAvailable:   {16 * GIGABYTE // 1024} kB\n",
        "proc/self/status": f"Name:\tpython\nVmRSS:\t{GIGABYTE // 1024} kB\n",
    }
    for name, text in {**usual, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(folder: str, limit: str, usage: int, cache: int = 0) -> dict[str, str]:
    stat = f"anon 5\ninactive_file {cache}\nactive_file 7\n"
    return {f"{folder}/memory.max": limit, f"{folder}/memory.current": str(usage), f"{folder}/memory.stat": stat}


def test_a_machine_without_limits(tmp_path):
    assert available("cpu", machine(tmp_path, {})) == 17 * GIGABYTE


def test_a_container_has_what_its_group_allows(tmp_path):
    files = {"proc/self/cgroup": "0::/\n", **group("sys/fs/cgroup", str(8 * GIGABYTE), 3 * GIGABYTE, GIGABYTE)}
    assert available("cpu", machine(tmp_path, files)) == 7 * GIGABYTE


def test_a_group_has_no_more_than_the_one_above(tmp_path):
    files = {
        "proc/self/cgroup": "0::/outer/inner\n",
        **group("sys/fs/cgroup/outer", str(4 * GIGABYTE), 2 * GIGABYTE),
        **group("sys/fs/cgroup/outer/inner", "max\n", GIGABYTE),
    }
    assert available("cpu", machine(tmp_path, files)) == 3 * GIGABYTE


def test_groups_of_the_first_version(tmp_path):
    folder = "sys/fs/cgroup/memory/docker"
    files = {
        "proc/self/cgroup": "12:cpu,cpuacct:/docker\n5:memory:/docker\n0::/\n",
        f"{folder}/memory.limit_in_bytes": str(6 * GIGABYTE),
        f"{folder}/memory.usage_in_bytes": str(5 * GIGABYTE),
        f"{folder}/memory.stat": f"total_inactive_file {GIGABYTE}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
    }
    assert available("cpu", machine(tmp_path, files)) == 3 * GIGABYTE


def test_a_machine_that_does_not_tell(tmp_path):
    assert available("cpu", tmp_path) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_runs_can_be_planned_for_a_gpu_that_is_elsewhere():
    assert available("cuda") is None
    views = [View(np.zeros((48, 64, 3), np.uint8), "photo.jpg")] * 2
    for card in CARDS.values():
        assert _class(card).predict(card, views, "cuda").memory > 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell by files")
def test_this_machine_tells():
    found = available("cpu")
    assert found is not None
    assert found > 100_000_000


def test_refusals_of_torch_are_recognised():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_refusal(caught.value)
    assert is_refusal(torch.cuda.OutOfMemoryError("CUDA out of memory."))
    assert not is_refusal(RuntimeError("shapes cannot be multiplied"))
    assert not is_refusal(ValueError("out of memory"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are set in Linux's way")
def test_refusals_by_the_system_are_recognised():
    program = (
        "import resource, torch\n"
        "from recon.models.memory import is_refusal\n"
        "resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
        "try:\n"
        "    torch.zeros(16 << 30, dtype=torch.uint8)\n"
        "except (RuntimeError, MemoryError) as error:\n"
        "    assert is_refusal(error), error\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@pytest.mark.parametrize(
    ("size", "words"), [(640_000_000, "640 MB"), (3_140_000_000, "3.1 GB"), (24_300_000_000, "24 GB")]
)
def test_sizes_in_words(size, words):
    assert in_words(size) == words
