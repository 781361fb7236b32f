import json

import pytest
import torch
from torch import nn

from recon.networks.parallax import ParallaxNetwork
from recon.training.profile import GENERATOR, device_kernels, idle_share, matrix_rate, part_of, profile, step_flops

CPU = torch.device("cpu")


def test_flops_of_linear_layers_are_counted_forward_and_backward():
    network = nn.Sequential(nn.Flatten(2), nn.Linear(48, 20, bias=False), nn.Linear(20, 7, bias=False))
    # Forward, and backward to the weights of both layers and to the second one's input; images need no gradient.
    assert step_flops(network, (2, 3, 3, 4, 4)) == 2 * 6 * (2 * 48 * 20 + 3 * 20 * 7)


def test_attention_across_views_is_counted():
    network = ParallaxNetwork(width=48, depth=2, heads=2, taps=(1, 2), descriptors_after=1)
    two, four = (step_flops(network, (1, views, 3, 32, 48)) / views for views in (2, 4))
    tokens = 11  # five special ones and 2 x 3 patches
    attention = 3 * 4 * 48 * tokens * (4 - 2) * tokens
    positions = 2 * 2 * 6 * 34 * 48  # embedded once for all views
    assert four - two == pytest.approx(attention - positions * (1 / 2 - 1 / 4))


def test_a_step_on_the_cpu():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 32, 3, 2), nn.GELU(), nn.Flatten(), nn.Linear(32 * 31 * 31, 64))
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)

    def step() -> None:
        with torch.profiler.record_function(GENERATOR):
            images = torch.rand(8, 3, 64, 64)
        network(images).square().mean().backward()
        optimiser.step()

    measured = profile(step, flops=1e9, views=8, device=CPU, dtype=torch.float32, repeats=2)
    assert measured.share == pytest.approx(1e9 / measured.seconds / measured.matrix_rate)
    assert sum(measured.parts.values()) == pytest.approx(1)
    assert {"convolution", "linear", "optimiser"} <= set(measured.parts)
    # What the operators took of their own is what a step took: nothing is lost, nothing counted twice.
    assert sum(kernel.seconds for kernel in measured.kernels) == pytest.approx(measured.seconds, rel=0.9)
    seconds = [kernel.seconds for kernel in measured.kernels]
    assert seconds == sorted(seconds, reverse=True)
    table = str(measured)
    assert f"| share of it | {measured.share:.1%} |" in table
    assert "| convolution |" in table


def test_the_rate_of_the_matrix_product_is_that_of_a_product():
    assert 1e8 < matrix_rate(CPU, torch.float32, 256) < 1e14


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_3_64x64x128_4x1x1_kernel0_0", "attention"),
        ("void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<...>", "attention"),
        ("sm90_xmma_wgrad_implicit_gemm_indexed_bf16bf16_bf16f32_f32_nhwckrsc_nhwc", "convolution"),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", "linear"),
        ("triton_poi_fused__to_copy_convolution_gelu_4", "norm, elementwise, losses"),
        ("void at::native::vectorized_elementwise_kernel<4, ...>", "norm, elementwise, losses"),
        ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<...>", "optimiser"),
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "communication"),
        ("aten::mm", "linear"),
    ],
)
def test_kernels_are_known_by_their_names(name, part):
    assert part_of(name) == part


def test_gaps_and_the_generator_in_a_trace_of_a_gpu():
    """Two streams that overlap, then a gap of 10 of 40 microseconds."""
    events = json.loads("""[
        {"cat": "user_annotation", "name": "generator", "ts": 0, "dur": 5, "tid": 1},
        {"cat": "cuda_runtime", "name": "launch", "ts": 2, "dur": 1, "tid": 1, "args": {"correlation": 7}},
        {"cat": "cuda_runtime", "name": "launch", "ts": 3, "dur": 1, "tid": 2, "args": {"correlation": 8}},
        {"cat": "cuda_runtime", "name": "launch", "ts": 9, "dur": 1, "tid": 1, "args": {"correlation": 9}},
        {"cat": "kernel", "name": "ray", "ts": 10, "dur": 20, "tid": 30, "args": {"correlation": 7}},
        {"cat": "kernel", "name": "nvjet", "ts": 15, "dur": 5, "tid": 31, "args": {"correlation": 8}},
        {"cat": "gpu_memset", "name": "Memset", "ts": 40, "dur": 10, "tid": 30, "args": {"correlation": 9}}
    ]""")
    assert idle_share(events) == pytest.approx(10 / 40)
    parts = {kernel.name: (kernel.part, kernel.calls, kernel.seconds) for kernel in device_kernels(events, steps=2)}
    assert parts["ray"] == (GENERATOR, 0.5, pytest.approx(10e-6))
    assert parts["nvjet"] == ("linear", 0.5, pytest.approx(2.5e-6))
    assert parts["Memset"] == ("copies", 0.5, pytest.approx(5e-6))
