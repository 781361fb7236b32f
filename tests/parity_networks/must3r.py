"""MUSt3R's recordings: runs of the network, of what makes cameras, and of the ways to go through many pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recon.models.fitting import Fitted
from recon.models.must3r_cameras import focal_lengths, poses
from recon.models.must3r_fitting import SIZES
from recon.models.must3r_fitting import fit as photo
from recon.models.pair_fitting import fit as frame
from recon.networks.must3r import Configuration, Encoded, Memory, Must3r, Pointmaps, read_configuration
from recon.networks.must3r_acceleration import Accelerated, accelerate
from recon.networks.must3r_retrieval import Retrieval, chained, farthest_points, similarities
from tests.networks.stand_in import draw
from tests.parity import Recording
from tests.parity_networks import Replayed, Run, outputs
from tests.parity_networks.must3r_engines import agents, engines, quadrants

TOKENS = 2e-6  # of tokens, memory and raw maps; cameras and points, whose exponentials were taken, have the usual 1e-5
FEATURES = 6  # of a picture in the recording of the retrieval


def replay(recording: Recording, run: Run) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds."""
    yield from postprocessing(recording)
    yield from orders(recording)
    yield from pictures(recording)
    yield from quadrants(recording)
    yield from agents(recording)
    if "input/u8" not in recording and "input/land_u8" not in recording:
        return
    strings = run.config.get("strings", run.config)
    configuration = read_configuration(strings["encoder"], strings["decoder"])
    network = built(run, configuration)
    with torch.inference_mode():
        if "input/u8" in recording:
            assert recording["stride"] == 2
            yield from steps(network, picture(recording, "u8", run), int(recording["input/n_init"]))
            return
        wide, tall = (picture(recording, name, run) for name in ("land_u8", "port_u8"))
        if recording.cuts("output/G_offline/mem_labels"):
            yield from engines(network, wide, tall)
        if not recording.cuts("output/A/step0/raw"):
            return
        yield from steps(network, wide, 2)
        yield from portrait(network, tall)
        yield from memory_modes(network, wide)
        yield from other_starts(network, wide)
        yield from mixed_sizes(network, wide, tall)
        yield from stretched(run, wide)
        yield from retrieval(recording, network, wide, run)
        yield from epsilons(recording, network)


def built(run: Run, configuration: Configuration) -> Must3r:
    """The network; for half precision as it is on a GPU, on the CPU too."""
    network = run.network(lambda: Must3r(configuration))
    assert isinstance(network, Must3r)
    if not run.half:
        return network
    on_gpu = run.device.startswith("cuda")
    return accelerate(network, torch.device(run.device)) if on_gpu else Accelerated(network, torch.bfloat16)


def picture(recording: Recording, name: str, run: Run) -> Tensor:
    """``[V,3,H,W]`` in 0..1."""
    return torch.from_numpy(recording[f"input/{name}"]).movedim(-1, 1).to(run.device, run.stored) / 255


@dataclass
class Kept:
    """A run of the network, told by the reference's names."""

    network: Must3r
    memory: Memory

    def update(self, stacks: Sequence[Encoded]) -> list[Tensor]:
        """Raw maps of images, which then enter the memory."""
        raw, seen = self.network.update(stacks, self.memory)
        self.memory.append(self.network.entries(seen))
        return raw

    def state(self, name: str) -> Iterator[tuple[str, Replayed]]:
        """The memory as it is now."""
        layers, count = self.memory.layers, self.memory.count
        yield f"{name}/shapes", Replayed(np.array([(1, *layer.shape) for layer in layers]), 0.0)
        yield f"{name}/labels", Replayed(self.memory.labels[None], 0.0)
        yield f"{name}/counters", Replayed(np.array([count, count, len(self.memory)]), 0.0)
        yield f"{name}/layer0", Replayed(layers[0][None], TOKENS)
        yield f"{name}/last", Replayed(layers[-1][None], TOKENS)
        yield f"{name}/layer0_t4_c4", Replayed(layers[0][None, ::4, ::4], TOKENS)
        yield f"{name}/last_t4_c4", Replayed(layers[-1][None, ::4, ::4], TOKENS)


def steps(network: Must3r, images: Tensor, initial: int) -> Iterator[tuple[str, Replayed]]:
    """Run A: some images make the world, the others enter one by one, then all are rendered."""
    count = len(images)
    blocks = {f"enc_block{i}": block.ls2 for i, block in enumerate(network.encoder.blocks_enc)}
    with outputs({"patch_embed": network.encoder.patch_embed, **blocks}) as kept:
        encoded = network.encode(images)
    for stage, seen in kept.items():
        for tokens in seen:  # none of blocks that are replaced by others
            yield f"stage/{stage}", Replayed(tokens, TOKENS)
    yield "stage/enc_tokens", Replayed(encoded.tokens, TOKENS)
    yield "stage/enc_tokens_c8", Replayed(encoded.tokens[..., ::8], TOKENS)
    run = Kept(network, Memory())
    parts = [slice(0, initial), *(slice(i, i + 1) for i in range(initial, count))]
    for number, part in enumerate(parts):
        with outputs({f"feat{i + 1}": block for i, block in enumerate(network.decoder.blocks_dec)}) as kept:
            (raw,) = run.update([encoded[part]])
        yield f"output/A/step{number}/raw", Replayed(raw[None], TOKENS)
        yield from run.state(f"output/A/step{number}/mem")
        yield f"stage/step{number}/feat0", Replayed(encoded[part].tokens[None], TOKENS)
        for stage, (tokens,) in kept.items():
            last = stage == f"feat{len(kept)}"
            seen = network.decoder.norm_dec(tokens) if last else tokens
            yield f"stage/step{number}/{stage}", Replayed(seen[None], TOKENS)
    with outputs({"feat_last": network.decoder.norm_dec}) as kept:
        raw = network.render(encoded, run.memory)
    yield "stage/render/feat_last", Replayed(kept["feat_last"][0][None], TOKENS)
    yield "output/A/render/raw", Replayed(raw[None], TOKENS)
    yield from maps("output/A/render", network.pointmaps(raw))


def maps(name: str, given: Pointmaps) -> Iterator[tuple[str, Replayed]]:
    """Pointmaps of V pictures and the poses that follow from them."""
    yield f"{name}/pts3d", Replayed(given.points)
    yield f"{name}/pts3d_local", Replayed(given.points_in_camera)
    yield f"{name}/conf", Replayed(given.confidence)
    yield f"{name}/c2w", Replayed(poses(given.points, given.points_in_camera, given.confidence))


def portrait(network: Must3r, tall: Tensor) -> Iterator[tuple[str, Replayed]]:
    """The encoder on a picture that is higher than wide."""
    yield "stage/enc_tokens_portrait", Replayed(network.encode(tall).tokens, TOKENS)


def memory_modes(network: Must3r, wide: Tensor) -> Iterator[tuple[str, Replayed]]:
    """Runs B: run A with other memories."""
    encoded, before = network.encode(wide), network.memory_mode
    for mode in ("norm_y", "raw"):
        network.memory_mode = mode
        run = Kept(network, Memory())
        for part in (slice(0, 2), slice(2, 3), slice(3, 4)):
            run.update([encoded[part]])
        yield from run.state(f"output/B_{mode}/mem")
    network.memory_mode = before


def other_starts(network: Must3r, wide: Tensor) -> Iterator[tuple[str, Replayed]]:
    """Runs C and D: a world of one image, and one of all."""
    encoded, run = network.encode(wide), Kept(network, Memory())
    (raw,) = run.update([encoded[:1]])
    yield "output/C_single_init/step0/raw", Replayed(raw[None], TOKENS)
    yield from run.state("output/C_single_init/step0/mem")
    (raw,) = run.update([encoded[1:2]])
    yield "output/C_single_init/step1/raw", Replayed(raw[None], TOKENS)
    run = Kept(network, Memory())
    (raw,) = run.update([encoded])
    yield "output/D_init_all/raw", Replayed(raw[None], TOKENS)
    yield from run.state("output/D_init_all/mem")


def mixed_sizes(network: Must3r, wide: Tensor, tall: Tensor) -> Iterator[tuple[str, Replayed]]:
    """Run E: images of two sizes in one call."""
    encoded, other, run = network.encode(wide), network.encode(tall), Kept(network, Memory())
    for number, raw in enumerate(run.update([encoded[:2], other])):
        yield f"output/E_multi_ar/step0/raw{number}", Replayed(raw[None], TOKENS)
    (raw,) = run.update([encoded[2:3]])
    yield "output/E_multi_ar/step1/raw", Replayed(raw[None], TOKENS)
    yield from run.state("output/E_multi_ar/step1/mem")
    for number, part in enumerate((encoded[:3], other)):
        yield f"output/E_multi_ar/render/raw{number}", Replayed(network.render(part, run.memory)[None], TOKENS)


def stretched(run: Run, wide: Tensor) -> Iterator[tuple[str, Replayed]]:
    """Run F: the same pictures, taken for some of twice the size."""
    configuration = read_configuration(run.config["encoder"], run.config["decoder"])
    network = built(run, configuration.at(2 * configuration.encoder.img_size[0]))
    encoded = network.encode(wide[:2])
    yield "output/F_rope_scaled/enc_tokens", Replayed(encoded.tokens, TOKENS)
    (raw,), _ = network.update([encoded])
    yield "output/F_rope_scaled/raw", Replayed(raw[None], TOKENS)


def postprocessing(recording: Recording) -> Iterator[tuple[str, Replayed]]:
    """Run K: maps of a world that there could be, and their cameras."""
    if "input/K_postprocess/raw" not in recording:
        return
    network = Must3r.__new__(Must3r)
    nn.Module.__init__(network)
    network.configuration = read_configuration("Dust3rEncoder()", "MUSt3R()")
    given = network.pointmaps(torch.from_numpy(recording["input/K_postprocess/raw"]))
    yield from maps("output/K_postprocess", given)
    yield "output/K_postprocess/focal", Replayed(focal_lengths(given.points_in_camera))


def retrieval(recording: Recording, network: Must3r, wide: Tensor, run: Run) -> Iterator[tuple[str, Replayed]]:
    """Run M: features, and how alike pictures are by them."""
    tokens = network.encode(wide).tokens
    width = tokens.shape[-1]
    module = Retrieval(width, count=FEATURES)
    shapes: Mapping[str, tuple[tuple[int, int], float]] = {"m": ((1, width), 0.1), "p": ((width, width), width**-0.5)}
    drawn = {
        f"prewhiten.{name}": draw(f"retrieval.prewhiten.{name}", shape, 0.0, deviation).double()
        for name, (shape, deviation) in shapes.items()
    }
    module.load_state_dict(drawn, strict=True)
    selected = module.to(run.device)(tokens)
    for i in range(len(tokens)):
        name = f"output/M_retrieval/view{i}"
        yield f"{name}/feat", Replayed(selected.features[i][None], TOKENS)
        yield f"{name}/attn", Replayed(selected.strength[i][None], TOKENS)
        yield f"{name}/index", Replayed(selected.places[i][None], 0.0)
    centroids = torch.from_numpy(recording["input/M_retrieval/centroids"]).to(run.device, run.stored)
    yield "output/M_retrieval/sim", Replayed(similarities(list(selected.features), centroids), TOKENS)


def orders(recording: Recording) -> Iterator[tuple[str, Replayed]]:
    """An order of pictures by how alike they are."""
    if "input/M_order/sim" not in recording:
        return
    given = recording["input/M_order/sim"]
    first = int(np.random.RandomState(3).choice(len(given)))
    anchors, distances = farthest_points(1 - given, 6, first)
    yield "output/M_order/anchor", Replayed(np.array(anchors), 0.0)
    yield "output/M_order/anchor_dist", Replayed(np.array(distances), 1e-12)
    order = chained(given[np.ix_(anchors, anchors)])
    yield "output/M_order/keyframes", Replayed(np.array(anchors)[order], 0.0)


def epsilons(recording: Recording, network: Must3r) -> Iterator[tuple[str, Replayed]]:
    """Run O: tiny inputs, on which the epsilon of a norm shows."""
    inputs = {name: torch.from_numpy(recording[f"input/O_eps/{name}"]) for name in ("dec", "enc")}
    decoder, encoder = network.decoder, network.encoder
    paths = {
        "feedback": ("dec", nn.Sequential(decoder.feedback_norm, decoder.feedback_layer)),
        "norm_dec": ("dec", decoder.norm_dec),
        "norm_y0": ("dec", decoder.blocks()[0].norm_y),
        "norm1_dec0": ("dec", decoder.blocks()[0].norm1),
        "norm_enc": ("enc", encoder.norm_enc),
        "norm1_enc0": ("enc", encoder.blocks_enc[0].norm1),
    }
    for name, (given, module) in paths.items():
        weight = next(module.parameters())
        yield f"output/O_eps/{name}", Replayed(module(inputs[given].to(weight)), TOKENS)


def pictures(recording: Recording) -> Iterator[tuple[str, Replayed]]:
    """Runs L: photos and video frames as the network is given them."""
    cases = [*SIZES.items(), ("dict", {5 / 3: (80, 48), 3 / 2: (96, 64), 1.0: (64, 64)})]
    for name in recording.names:
        if not (match := re.fullmatch(r"input/L_load/(img\d)", name)):
            continue
        image = recording[name]
        for side, sizes in cases:
            shown, fitted = photo(image, sizes)
            start = f"output/L_load/{match[1]}/size{side}"
            yield f"{start}/true_shape", Replayed(np.array(shown.shape[1:]), 0.0)
            yield f"{start}/img", Replayed(2 * shown - 1, TOKENS)
            yield from transforms(start, image, fitted)
        for side in (224, 512):
            fitted = frame(image, side, square_ok=True)
            start = f"output/L_slam_preproc/{match[1]}/res{side}"
            yield f"{start}/true_shape", Replayed(np.array([fitted.image.shape[:2]]), 0.0)
            shown = torch.tensor(fitted.image).movedim(-1, 0)[None] / 255
            yield f"{start}/img", Replayed(2 * shown - 1, TOKENS)
            back = fitted.original_from_processed
            corner = back[:2, 2] / np.diag(back)[:2]
            yield f"{start}/offset", Replayed(corner.round()[None], 0.0)
            yield f"{start}/to_orig_focal", Replayed(back[0, 0], 1e-12)


def transforms(name: str, image: np.ndarray, fitted: Fitted) -> Iterator[tuple[str, Replayed]]:
    """Maps between the pixels of a photo and those of the network, where what is cut off is not rounded."""
    (height, width), back = image.shape[:2], fitted.original_from_processed.copy()
    kept = back[0, 0] * fitted.size[0], back[1, 1] * fitted.size[1]
    assert np.abs(back[:2, 2] - (width / 2, height / 2) + np.array(kept) / 2).max() <= 0.5
    back[:2, 2] = (width - kept[0]) / 2, (height - kept[1]) / 2
    yield f"{name}/to_orig", Replayed(back, 1e-12)
    yield f"{name}/to_rescaled", Replayed(np.linalg.inv(back), 1e-12)
