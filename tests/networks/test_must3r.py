import pytest
import torch

from recon.errors import InputError
from recon.networks.constructor import read_constructor
from recon.networks.must3r import Configuration, Encoded, Memory, Must3r, read_configuration
from recon.networks.must3r_configuration import Decoder, Encoder
from tests.networks.small_must3r import DECODER, ENCODER, configuration, stand_in_network
from tests.networks.stand_in import smooth_images
from tests.parity import RECORDINGS, Recording, described_in, replay
from tests.parity_networks import Run

FOLDER = RECORDINGS / "must3r"


@pytest.fixture(scope="module")
def network() -> Must3r:
    return stand_in_network()


@pytest.fixture(scope="module")
def encoded(network) -> Encoded:
    with torch.inference_mode():
        return network.encode(smooth_images(5, 48, 80)[0])


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).norm() <= 1e-5 * b.norm())


def lines(config: str, recording: str):
    described = described_in(FOLDER / f"{config}.json.gz")
    return list(replay("must3r", Recording(FOLDER / f"{recording}.npz"), Run(described["config"], described["keys"])))


def remembered(network: Must3r, *stacks: Encoded) -> Memory:
    """A memory that stacks of images have entered, one stack after the other."""
    memory = Memory()
    for stack in stacks:
        _, seen = network.update([stack], memory)
        memory.append(network.entries(seen))
    return memory


@pytest.mark.parametrize("name", ["manifest", "small"])
def test_has_the_keys_and_shapes_of_the_checkpoint(name):
    described = described_in(FOLDER / f"{name}.json.gz")
    strings = described["config"].get("strings", described["config"])
    with torch.device("meta"):
        network = Must3r(read_configuration(strings["encoder"], strings["decoder"]))
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert shapes == {key: value["shape"] for key, value in described["keys"].items()}


@pytest.mark.parametrize(
    ("config", "recording"), [("small", "small"), ("manifest", "pictures"), ("engines", "engines")]
)
def test_gives_the_numbers_of_its_reference(config, recording):
    wrong = [str(line) for line in lines(config, recording) if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_of_the_published_size_gives_the_numbers_of_its_reference():
    wrong = [str(line) for line in lines("manifest", "full") if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("mode", ["norm_y", "raw"])
def test_all_memories_give_the_same_numbers_and_those_without_keys_take_half(network, encoded, mode):
    other = stand_in_network(mode)
    with torch.inference_mode():
        parts = (encoded[:2], encoded[2:3])
        full, lean = remembered(network, *parts), remembered(other, *parts)
        assert lean.layers[0].nbytes * 2 == full.layers[0].nbytes
        assert same(other.render(encoded, lean), network.render(encoded, full))


def test_images_may_be_rendered_together(network, encoded):
    with torch.inference_mode():
        memory = remembered(network, encoded[:2], encoded[2:3])
        together = network.render(encoded, memory)
        for number in range(5):
            assert same(network.render(encoded[number : number + 1], memory), together[number : number + 1])


def test_neither_rendering_nor_looking_changes_the_memory(network, encoded):
    with torch.inference_mode():
        memory = remembered(network, encoded[:2])
        before = [layer.clone() for layer in memory.layers]
        network.render(encoded, memory)
        network.update([encoded[2:3]], memory)
        assert memory.count == 2
        assert all(torch.equal(one, other) for one, other in zip(memory.layers, before, strict=True))


def test_an_image_does_not_see_itself_until_it_is_rendered(network, encoded):
    with torch.inference_mode():
        memory = remembered(network, encoded[:2])
        (first,), seen = network.update([encoded[2:3]], memory)
        assert same(network.render(encoded[2:3], memory), first)  # as long as it has not entered
        memory.append(network.entries(seen))
        assert not same(network.render(encoded[2:3], memory), first)
        (again,), _ = network.update([encoded[2:3]], memory)  # its tokens of the first time are like any others
        assert not same(again, first)


def test_the_order_in_which_tokens_are_kept_is_no_matter(network, encoded):
    with torch.inference_mode():
        memory, other = remembered(network, encoded[:3]), remembered(network, encoded[:3])
        _, seen = network.update([encoded[:3]])
        entries = network.entries(seen)
        other.remove([0, 2])
        other.append(entries.of(2), [2])
        other.append(entries.of(0), [0])
        assert other.images == [0, 1, 2]
        assert same(network.render(encoded, other), network.render(encoded, memory))


def test_an_image_leaves_and_another_takes_its_place(network, encoded):
    with torch.inference_mode():
        memory, other = remembered(network, encoded[:3]), remembered(network, encoded[:3])
        _, seen = network.update([encoded[3:4]], memory)
        entries = network.entries(seen)
        memory.replace(1, entries, by=3)
        other.remove([1])
        other.append(entries)
        assert memory.images == other.images == [0, 2, 3]
        assert memory.count == other.count == 4
        assert memory.size_of(3) == memory.size_of(0) == 15
        assert memory.size_of(1) == 0
        assert same(network.render(encoded, memory), network.render(encoded, other))


def test_a_memory_grows_by_what_enters_and_little_more(network, encoded):
    with torch.inference_mode():
        memory = remembered(network, encoded[:2])
        exact = memory.nbytes
        assert exact == 3 * 30 * 32 * 4
        for number in (2, 3, 4):
            _, seen = network.update([encoded[number : number + 1]], memory)
            memory.append(network.entries(seen))
        assert len(memory) == 75
        assert memory.nbytes <= exact / 2 * (5 + 8)


def test_the_first_image_is_the_only_one_of_its_kind(network, encoded):
    with torch.inference_mode():
        (one,), _ = network.update([encoded[:2]])
        (other,), _ = network.update([Encoded(encoded.tokens[[1, 0]], encoded.rows, encoded.columns)])
    assert not same(other[1], one[0])


def test_points_are_finite_and_confidence_is_above_one(network, encoded):
    with torch.inference_mode():
        maps = network.pointmaps(network.render(encoded, remembered(network, encoded[:2])))
    assert maps.points.shape == maps.points_in_camera.shape == (5, 48, 80, 3)
    assert maps.confidence.shape == (5, 48, 80)
    assert maps.points.isfinite().all()
    assert (maps.confidence > 1).all()
    assert len(maps[1:3]) == 2


@pytest.mark.parametrize("size", [(40, 80), (48, 81), (0, 80)])
def test_a_size_that_is_no_multiple_of_a_patch_is_refused_in_a_sentence(network, size):
    with pytest.raises(InputError, match="multiples of 16 pixels") as error:
        network.encode(torch.zeros(1, 3, *size))
    assert str(error.value).endswith(".")


def test_progress_rises_to_the_end_and_may_stop(network):
    told: list[float] = []
    with torch.inference_mode():
        network.encode(torch.zeros(1, 3, 32, 32), told.append)
        assert told == [0.5, 1.0]

        def stop(fraction: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            network.encode(torch.zeros(1, 3, 32, 32), stop)


def test_the_texts_of_the_published_checkpoints_are_the_published_configuration():
    for name in ("Causal", ""):
        text = f'{name}MUSt3R(img_size=(512, 512), feedback_type="single_mlp", memory_mode="kv", mem_dropout=0.1)'
        assert read_configuration("Dust3rEncoder(img_size=(512,512))", text) == Configuration()
    assert read_configuration(ENCODER, DECODER) == configuration()


def test_what_a_text_does_not_say_is_as_its_constructor_has_it():
    read = read_configuration("Dust3rEncoder()", "MUSt3R()")
    assert read.encoder.img_size == (224, 224)
    assert read.decoder == Decoder((224, 224), feedback_type=None, memory_mode="norm_y")
    read = read_configuration("Dust3rEncoder()", "MUSt3R(pointmaps_activation=ActivationType.LINEAR)")
    assert read.decoder.pointmaps_activation == "linear"
    assert read_constructor("Net(a=Kind.ONE)").arguments == {"a": "Kind.ONE"}


def test_positions_are_stretched_to_another_size_of_pictures():
    for sides, text in (((512, 768), "RoPE100_512:768"), ((224, 448), "RoPE100_224:448")):
        encoder = Encoder((sides[0],) * 2).at(sides[1])
        assert encoder.pos_embed == text
        assert encoder.rotary == (100, sides[0] / sides[1])
        assert encoder.at(sides[1]) == encoder
        assert encoder.at(672).pos_embed == f"RoPE100_{sides[0]}:672"
    with pytest.raises(InputError, match="must be square"):
        Encoder((224, 448)).at(512)


@pytest.mark.parametrize(
    ("encoder", "decoder", "said"),
    [
        ("CroCo()", "MUSt3R()", "a network 'CroCo'"),
        ("Dust3rEncoder()", "AMB3R()", "a network 'AMB3R'"),
        (7, "MUSt3R()", "should name a constructor, not int"),
        ("Dust3rEncoder()", "MUSt3R(pred_pose=True)", "does not know 'pred_pose'"),
        ("Dust3rEncoder()", "MUSt3R(head='DPT')", "head must be 'Linear'"),
        ("Dust3rEncoder()", "MUSt3R(memory_mode='all')", "no memory_mode 'all'"),
        ("Dust3rEncoder()", "MUSt3R(feedback_type='attention')", "no feedback_type 'attention'"),
        ("Dust3rEncoder()", "MUSt3R(pointmaps_activation=ActivationType.CUBE)", "no pointmaps_activation"),
        ("Dust3rEncoder()", "MUSt3R(output_dim=1024)", "output_dim must be 1792"),
        ("Dust3rEncoder()", "MUSt3R(enc_embed_dim=768)", "must be the embed_dim of the encoder"),
        ("Dust3rEncoder(img_size=(512, 512))", "MUSt3R()", "one img_size"),
        ("Dust3rEncoder(img_size=(500, 500))", "MUSt3R()", "must divide"),
        ("Dust3rEncoder(pos_embed='cosine')", "MUSt3R()", "must be rotary"),
        ("Dust3rEncoder(num_heads=7)", "MUSt3R()", "multiple of four times"),
        ("Dust3rEncoder(depth=0)", "MUSt3R()", "must be positive"),
        ("Dust3rEncoder(depth=__import__('os').getpid())", "MUSt3R()", "cannot be read"),
    ],
)
def test_a_text_of_another_network_is_refused_in_a_sentence(encoder, decoder, said):
    with pytest.raises(InputError, match="cannot be") as error:
        read_configuration(encoder, decoder)
    assert said in str(error.value)
    assert str(error.value).endswith(".")
