"""MapAnything that is fast on a GPU says what the plain one says; most of it can be seen on the CPU."""

import copy
import logging
from dataclasses import replace

import pytest
import torch

from recon.bench.kinds import mapanything_outputs
from recon.bench.network import deviations
from recon.bench.stand_ins import fill_in
from recon.networks import acceleration, recording
from recon.networks.acceleration import FusedBlock
from recon.networks.layers import view_attention
from recon.networks.mapanything import Known, MapAnything
from recon.networks.mapanything_acceleration import Accelerated, accelerate
from recon.networks.mapanything_configuration import AlternatingAttention, Configuration, ImageEncoder
from recon.networks.mapanything_inputs import along_rays, rays_of
from tests.networks.small_mapanything import configuration
from tests.networks.stand_in import smooth_images

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["1", "1.1"])
def network(request) -> MapAnything:
    """With heads of 64 channels, as the published network has."""
    small, newer = configuration(request.param), request.param == "1.1"
    inner = 128 if newer else 64
    made = MapAnything(
        replace(
            small,
            encoder=ImageEncoder(128, 2, 2, 256, gated=newer, normed=not newer),
            attention=AlternatingAttention(inner, 4, inner // 64, 2 * inner, newer, 1e-5 * newer, (1, 2), newer),
        )
    )
    fill_in(made)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images():
    return torch.cat([smooth_images(3, 56, 70), smooth_images(3, 56, 70).flip(1)])


@pytest.fixture(scope="module")
def known() -> Known:
    """Of both samples alike: rays and depth of view 1, poses of views 0 and 2."""
    rays = rays_of(torch.tensor([[60.0, 0, 34], [0, 60, 28], [0, 0, 1]]), 56, 70).expand(2, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    here = torch.tensor([[False, True, False]] * 2)
    depth = along_rays(1 + torch.rand(2, 56, 70, generator=generator), rays)
    quaternions = torch.randn(1, 3, 4, generator=generator).expand(2, -1, -1)
    return Known(rays, here, depth, here, quaternions, quaternions[..., :3], ~here, here, ~here)


def accelerated(network, dtype=torch.float32, bounded=False, dense=torch.float32) -> Accelerated:
    return Accelerated(copy.deepcopy(network), dtype, bounded, dense)


def distances(prediction, exact) -> dict[str, float]:
    return deviations(mapanything_outputs(prediction), mapanything_outputs(exact))


def run(network, images, known=None, chunk=8):
    with torch.inference_mode():
        return network(images, known, chunk)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("bounded", [False, True])
def test_in_float32_it_is_the_network_itself(network, images, known, told, bounded):
    heard = known if told else None
    fast = accelerated(network, bounded=bounded)
    blocks = [block for block in fast.modules() if isinstance(block, FusedBlock)]
    assert [block.checked for block in blocks] == [False, False, *[bounded, False] * 2]  # those across views alone
    assert max(distances(run(fast, images, heard, 2), run(network, images, heard)).values()) < 2e-6


@pytest.mark.parametrize("rows", [1, 25, 1 << 16])
@pytest.mark.parametrize("samples", [1, 2])
def test_rows_may_be_worked_on_a_part_at_a_time(network, images, monkeypatch, rows, samples):
    monkeypatch.setattr(acceleration, "ROWS", rows)
    images = images[:samples]
    fast = accelerated(network, bounded=True)
    assert max(distances(run(fast, images, chunk=1), run(network, images)).values()) < 2e-6


def test_half_precision_is_near(network, images, known):
    said = run(accelerated(network, torch.bfloat16, True, torch.float16), images, known)
    found = distances(said, run(network, images, known))
    assert all(1e-6 < distance < 0.03 for distance in found.values()), found
    assert {values.dtype for values in mapanything_outputs(said).values()} == {torch.float32}


def test_the_bound_by_which_float16_holds_a_block_holds(network):
    block = copy.deepcopy(network.encoder.model.blocks[0])
    first = block.mlp.w12 if hasattr(block.mlp, "w12") else block.mlp.fc1
    while acceleration.fits_float16(block):
        first.weight *= 1.25
    first.weight /= 1.25  # it just fits
    made: list[float] = []
    for part in block.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_hook(lambda *each: made.append(each[2].abs().max().item()))
            part.register_forward_pre_hook(lambda *each: made.append(each[1][0].abs().max().item()))
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for scale in (1e-3, 1.0, 1e4):
            block(scale * torch.randn(1, 40, 128, generator=random))
    assert 10 < max(made) < torch.finfo(torch.float16).max / 2


def test_float16_holds_a_gated_block_of_the_published_size():
    published = Configuration().attention
    made = view_attention.block(published.width, published.heads, published.hidden, True, 1e-5).requires_grad_(False)
    fill_in(made)
    assert acceleration.fits_float16(made)
    made.mlp.w12.weight *= 5
    assert not acceleration.fits_float16(made)


def beyond_float16(network: MapAnything) -> MapAnything:
    """The network, with maps in its dense head of up to a million."""
    large = copy.deepcopy(network)
    levels, regressor = large.dense_head
    for part, factor in (
        (levels.input_process[0][0][0], 3e3),
        (levels.input_process[0][1], 3e2),
        (regressor.conv1, 1e-3),
        (regressor.conv2[0], 1e-3),
    ):
        part.weight *= factor
    return large


def test_a_dense_head_that_float16_cannot_hold_goes_on_in_float32(network, images, caplog):
    large = beyond_float16(network)
    with caplog.at_level(logging.WARNING):
        said = run(accelerated(large, dense=torch.float16), images, chunk=2)
    assert "float16" in caplog.text
    assert max(distances(said, run(large, images)).values()) < 0.01


def test_only_the_dense_heads_last_convolution_stays_in_float32(network):
    fast = accelerated(network, torch.bfloat16, True, torch.float16)
    for name, weight in fast.named_parameters():
        trunk = name.startswith(("encoder.model.blocks.", "info_sharing.self_attention_blocks."))
        matrix = trunk and (".attn." in name or ".mlp." in name)
        dense = name.startswith("dense_head.") and not name.startswith("dense_head.1.conv2.2.")
        assert (weight.dtype == torch.float32) != (matrix or dense), name


def test_without_a_gpu_nothing_is_recorded_and_nothing_changed(network, images):
    fast = accelerated(network)
    first, second = run(fast, images[:1]), run(fast, images[:1])
    assert len(fast._recorded) == 0
    assert max(distances(first, second).values()) == 0
    assert accelerate(network, CPU) is network


def test_blocks_that_trust_no_bound_attend_as_others_do(network, images):
    fast = accelerated(network, bounded=True)
    checked = [block for block in fast.modules() if isinstance(block, FusedBlock) and block.checked]
    for block in checked:
        block.trust_no_bound()
    assert not any(block.bounded or block.checked for block in checked)
    assert max(distances(run(fast, images), run(network, images)).values()) < 2e-6


# --- on a GPU --------------------------------------------------------------------------------------------------------


@needs_gpu
@pytest.mark.parametrize("told", [False, True])
def test_on_a_gpu_it_is_near_however_often_it_is_called(network, images, known, told):
    heard = known if told else None
    expected = run(network, images, heard)
    fast = accelerate(copy.deepcopy(network), GPU)
    on_gpu = known.to(GPU, torch.float32) if told else None
    said = [run(fast, images.cuda(), on_gpu) for _ in range(4)]  # launches are recorded at the second call
    assert len(fast._recorded) == (0 if told else 1)
    for each in said:
        found = distances(each, expected)
        assert all(distance < 0.03 for distance in found.values()), found


@needs_gpu
def test_on_a_gpu_results_are_their_callers(network, images):
    fast = accelerate(copy.deepcopy(network), GPU)
    first, second = images[:1].cuda(), images[1:].cuda()
    eager = run(fast, first), run(fast, second)
    recorded = run(fast, first)
    kept = recorded.depth.clone()
    other = run(fast, second)
    torch.testing.assert_close(recorded.depth, kept, atol=0, rtol=0)
    for one, two in zip((recorded, other), eager, strict=True):
        torch.testing.assert_close(one.depth, two.depth, atol=1e-3, rtol=1e-2)
    for size in range(1, 9):  # more sizes than graphs are kept
        for _ in range(3):
            assert run(fast, first[:, :1, :, : 14 * min(size, 4), : 14 * min(size, 5)]).depth.isfinite().all()
    assert len(fast._recorded) <= recording.GRAPHS


@needs_gpu
def test_on_a_gpu_rows_may_be_worked_on_a_part_at_a_time(network, images, monkeypatch):
    expected = run(network, images[:1])
    monkeypatch.setattr(acceleration, "ROWS", 25)
    fast = accelerate(copy.deepcopy(network), GPU)
    assert max(distances(run(fast, images[:1].cuda()), expected).values()) < 0.03


@needs_gpu
def test_on_a_gpu_progress_is_told_and_may_stop(network, images):
    class Enough(Exception):
        pass

    fast = accelerate(copy.deepcopy(network), GPU)
    told: list[float] = []
    with torch.inference_mode():
        fast.encode(images.cuda(), None, told.append)
        assert told == sorted(told)
        assert 0 < told[0] < told[-1] <= 1

        def stop(fraction):
            raise Enough

        with pytest.raises(Enough):
            fast.encode(images.cuda(), None, stop)


@needs_gpu
def test_on_a_gpu_a_dense_head_that_float16_cannot_hold_goes_on_in_float32(network, images):
    large = beyond_float16(network)
    exact = run(large, images)
    fast = accelerate(copy.deepcopy(large), GPU)
    for _ in range(3):
        assert max(distances(run(fast, images.cuda()), exact).values()) < 0.03


@needs_gpu
@pytest.mark.parametrize("recorded", [False, True])
def test_on_a_gpu_attention_out_of_its_range_is_done_anew(network, images, caplog, recorded):
    fast = accelerate(copy.deepcopy(network), GPU)
    checked = [block for block in fast.modules() if isinstance(block, FusedBlock) and block.checked]
    if not checked:
        pytest.skip("needs a GPU on which attention without a maximum is faster")
    if recorded:
        for _ in range(3):
            run(fast, images.cuda())
    checked[0].norm1.weight *= 40  # queries and keys are so much longer
    checked[0].norm1.bias *= 40
    with caplog.at_level(logging.WARNING):
        said = run(fast, images.cuda())
    assert "Attention across views" in caplog.text
    assert not any(block.checked for block in checked)
    assert all(values.isfinite().all() for values in mapanything_outputs(said).values())
