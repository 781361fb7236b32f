"""The shell command, run on real files with the real model."""

import io
import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from recon import CARDS, InputError, Scene, cli
from recon.progress import ProgressBar, duration
from tests.evaluation.scene_folder import write_scene
from tests.helpers import synthetic_scene
from tests.mjpeg_server import Camera
from tests.networks.small_must3r import DECODER, ENCODER, save_checkpoint, tiny


@pytest.fixture(scope="module")
def scene():
    return synthetic_scene(frames=2, height=240, width=320)


@pytest.fixture
def photos(scene, tmp_path):
    """Two photos whose names are hard on shells."""
    folder = tmp_path / "my photos"
    folder.mkdir()
    paths = [folder / "-first.jpg", folder / "zweites Föto 二.jpg"]
    for path, frame in zip(paths, scene.frames, strict=True):
        path.write_bytes(cv2.imencode(".jpg", frame.image[..., ::-1])[1].tobytes())
    return paths


def parallax(*arguments, **options):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from recon.cli import main; sys.exit(main())", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_photos_become_all_the_files_asked_for(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(photos[0].parent)
    outputs = [str(tmp_path / "new" / name) for name in ("out.glb", "out.ply", "out.npz")] + [f"{tmp_path}/scene/"]
    options = [word for output in outputs for word in ("-o", output)]
    assert cli.main(["run", "--no-verify", "--confidence", "50", *options, "--", "-first.jpg", photos[1].name]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == outputs
    assert "Reconstructed 2 frames" in told.err

    whole = Scene.load(tmp_path / "scene")
    assert [frame.name for frame in whole.frames] == [path.name for path in photos]
    assert whole.settings["verify"] is False
    shown = int(np.load(outputs[2])["mask"].sum())
    assert 0 < shown <= 0.5 * sum(frame.depth.size for frame in whole.frames) + 1
    assert len(trimesh.load(outputs[1]).vertices) == shown
    clouds = [part for part in trimesh.load(outputs[0]).geometry.values() if isinstance(part, trimesh.PointCloud)]
    assert sum(len(cloud.vertices) for cloud in clouds) == shown


def test_what_can_be_written_is_written_whatever_cannot(photos, tmp_path, capsys):
    outputs = [str(tmp_path / name) for name in ("out.masks.zip", "out.ply")]
    options = [word for output in outputs for word in ("-o", output)]
    assert cli.main(["run", "--no-verify", *options, "--", str(photos[0])]) == 2
    told = capsys.readouterr()
    assert told.out.splitlines() == outputs[1:]
    assert "out.masks.zip" in told.err
    assert [Path(output).exists() for output in outputs] == [False, True]


def test_what_the_model_does_not_heed_is_told(photos, tmp_path, capsys):
    first, known = tmp_path / "first.colmap.zip", tmp_path / "second.ply"
    assert cli.main(["run", "--no-verify", "-o", str(first), "--", *map(str, photos)]) == 0
    assert cli.main(["run", "--no-verify", "--known", str(first), "-o", str(known), "--", *map(str, photos)]) == 0
    assert "does not heed known intrinsics and poses; MapAnything does." in capsys.readouterr().err


def test_masks_say_what_moves(photos, tmp_path):
    height, width = cv2.imread(str(photos[1])).shape[:2]
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = 255
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / f"{photos[1].stem}.png"), mask)
    given = ["--no-verify", "--masks", str(tmp_path / "masks")]
    assert cli.main(["run", *given, "-o", f"{tmp_path}/scene/", "--", *map(str, photos)]) == 0
    first, second = Scene.load(tmp_path / "scene").frames
    assert first.moving is None
    assert second.moving[: len(second.moving) // 2 - 1].all()
    assert not second.moving[len(second.moving) // 2 + 1 :].any()


def test_no_more_frames_than_asked_for_are_used(photos, tmp_path, capsys):
    assert cli.main(["run", str(photos[0].parent), "-o", f"{tmp_path}/scene/", "--max-frames", "1"]) == 0
    assert len(Scene.load(tmp_path / "scene").frames) == 1
    assert "Of 2 photos, 1" in capsys.readouterr().err


def test_what_cannot_be_used_ends_in_one_sentence(photos, tmp_path, capsys):
    photo, text, out = str(photos[0].parent), tmp_path / "text.jpg", str(tmp_path / "out.glb")
    text.write_text("no picture")
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("keep me")
    for arguments, why in [
        (["run", str(text), "-o", out], "text.jpg"),
        (["run", str(tmp_path / "missing.jpg"), "-o", out], "missing.jpg"),
        (["run", photo, "-o", out, "--model", "unheard-of"], "unheard-of"),
        (["run", photo, "-o", out, "--device", "abacus"], "abacus"),
        (["run", photo, "-o", out, "--weights", str(text)], "text.jpg"),
        (["run", photo, "-o", out, "--confidence", "120"], "0 to 100"),
        (["run", photo, "-o", out, "--max-frames", "0"], "'0'"),
        (["run", photo, "-o", out, "--fps", "much"], "much"),
        (["run", photo, "-o", out, "--refine"], "knows no --refine"),
        (["run", photo, "-o", out, "--use", "depth"], "knows no --use"),
        (["run", photo, "-o", out, "--keyframes", "9"], "knows no --keyframes"),
        (["run", photo, "-o", out, "--use", "depth,wings"], "'wings'"),
        (["run", photo], "-o"),
        (["run", "-o", out], "PHOTO"),
        (["evaluate", str(full)], "is no scene"),
        (["bench", str(full)], "no photos"),
        (["bench", photo, "--frames", "1,2,3"], "holds 2 photos"),
        (["bench", photo, "--frames", "1,many"], "many"),
        (["unheard-of"], "unheard-of"),
        ([], "COMMAND"),
    ]:
        assert cli.main(arguments) == 2, arguments
        told = capsys.readouterr()
        complaint = told.err.splitlines()[-1]
        assert told.out == ""
        assert complaint.startswith("parallax: "), arguments
        assert why in complaint, complaint
        assert "Traceback" not in told.err
        assert not os.path.exists(out)


def test_outputs_that_cannot_be_written_are_told_before_the_work(tmp_path, capsys):
    file, full = tmp_path / "file", tmp_path / "full"
    file.write_text("keep me")
    full.mkdir()
    (full / "letter.txt").write_text("keep me")
    for output, why in [
        ("out.obj", "'.obj'"),
        (file, "is a file"),
        (f"{full}/", "holds other files"),
        (file / "deeper" / "out.glb", "cannot be written"),
    ]:
        # The photo is missing too: reading it first would complain of that.
        assert cli.main(["run", str(tmp_path / "missing.jpg"), "-o", str(tmp_path / "a.glb"), "-o", str(output)]) == 2
        told = capsys.readouterr().err
        assert why in told
        assert told.count("\n") == 1
    assert file.read_text() == (full / "letter.txt").read_text() == "keep me"


def test_a_disk_without_space_leaves_nothing_half_written(photos, tmp_path):
    def fill_the_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = parallax("run", photos[0].parent, "--no-verify", "-o", tmp_path / "out.npz", preexec_fn=fill_the_disk)
    _, complaints = process.communicate()
    assert process.returncode == 2, complaints
    assert complaints.splitlines()[-1].startswith("parallax: ")
    assert "Traceback" not in complaints
    assert [path.name for path in tmp_path.iterdir()] == ["my photos"]


@pytest.mark.parametrize(("reason", "stage"), [(signal.SIGINT, "Looking"), (signal.SIGTERM, "Verifying")])
def test_a_run_that_is_interrupted_stops_at_once_and_leaves_nothing(photos, tmp_path, reason, stage):
    process = parallax("run", *[photos[0].parent] * 8, "-o", tmp_path / "out.glb")
    lines = iter(process.stderr.readline, "")
    assert any(stage in line for line in lines)
    process.send_signal(reason)
    start = time.monotonic()
    _, complaints = process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert process.returncode == 130
    assert complaints.splitlines()[-1] == "parallax: stopped."
    assert "Traceback" not in complaints
    assert [path.name for path in tmp_path.iterdir()] == ["my photos"]


def test_a_reader_that_goes_away_is_no_error():
    process = parallax("models")
    process.stdout.close()
    complaints = process.stderr.read()
    assert process.wait() == 1
    assert complaints == ""


def test_the_trace_is_shown_to_those_who_ask(tmp_path):
    process = parallax("-v", "run", tmp_path / "missing.jpg", "-o", tmp_path / "out.glb")
    _, complaints = process.communicate()
    assert process.returncode == 2
    assert "Traceback" in complaints
    assert complaints.splitlines()[-1].startswith("parallax: 'missing.jpg'")


def test_models_are_listed_with_their_licences(capsys):
    assert cli.main(["models"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert "LICENCE" in header
    assert [row.split()[0] for row in rows] == list(CARDS)
    assert all(card.licence in row for card, row in zip(CARDS.values(), rows, strict=True))


def test_version_and_help_are_answered(capsys):
    for arguments, answer in [
        (["--version"], r"parallax \d+\.\d+"),
        (["--help"], r"run .*serve "),
        (["run", "--help"], "--confidence"),
        (["serve", "--help"], "--port"),  # from an entry point
    ]:
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0
        assert re.search(answer, capsys.readouterr().out, re.DOTALL)


def test_evaluation_prints_json_and_nothing_else(scene, tmp_path, capsys):
    write_scene(scene, tmp_path / "scenes" / "room", depths=2)
    assert cli.main(["evaluate", str(tmp_path / "scenes"), "--frames", "2", "--first", "--json", "--no-verify"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["scenes"]) == ["room"]
    result = told["scenes"]["room"]
    assert result == told["mean"]
    assert result["frames"] == 2
    assert result["ate"] is None  # any two centres can be brought together
    assert result["rra15"] == 1  # the cameras look nearly the same way, and the network sees that
    assert 0 < result["absrel"] < 0.5
    assert result["seconds"] > 0


def test_evaluation_without_ground_truth_prints_a_table(scene, tmp_path, capsys):
    root = write_scene(scene, tmp_path / "room", depths=0)
    (root / "cameras.npz").unlink()
    assert cli.main(["evaluate", str(root), "--frames", "1"]) == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:2] == ["scene", "frames"]
    assert rows[2][:3] == ["room", "1", "–"]
    assert rows[3][0] == "mean"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_progress_bar_moves_on_a_terminal_and_is_quiet_elsewhere():
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with ProgressBar(stream) as bar:
            for fraction in (0.0, 0.5, 1.0):
                bar.show("Looking", fraction)
    shown = terminal.getvalue().split("\r\x1b[K")
    assert [line.count("█") for line in shown] == [0, 0, 12, 24, 0]
    assert " 50%  Looking" in shown[2]
    assert shown[-1] == ""
    assert file.getvalue() == "Looking\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (75, "1 min 15 s"), (4200, "1 h 10 min")]
)
def test_durations_are_told_for_people(seconds, text):
    assert duration(seconds) == text


def test_a_video_is_read_while_it_is_reconstructed(tmp_path, capsys):
    weights = save_checkpoint(tmp_path / "MUSt3R.pth", tiny(ENCODER), tiny(DECODER))
    path, out = tmp_path / "walk.avi", tmp_path / "out.npz"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    for frame in synthetic_scene(20, 96, 128).frames:
        writer.write(frame.image[..., ::-1])
    writer.release()
    asked = ["run", str(path), "-o", str(out), "--model", "must3r", "--weights", str(weights), "--device", "cpu"]
    assert cli.main([*asked, "--order", "video"]) == 0
    assert "Reconstructed 20 frames" in capsys.readouterr().err
    assert cli.main([*asked, "--order", "video", "--fps", "5", "--keyframes", "4"]) == 0
    assert "Reconstructed 10 frames" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert cli.main([*asked, "--order", "video"]) == 0
    assert re.search(r"breaks off after .* what came before is kept", capsys.readouterr().err)


def test_a_stream_is_reconstructed_until_it_is_stopped_and_what_came_is_kept(tmp_path, capsys):
    weights, out = save_checkpoint(tmp_path / "MUSt3R.pth", tiny(ENCODER), tiny(DECODER)), tmp_path / "way.tum"
    pictures = [frame.image for frame in synthetic_scene(6, 96, 128).frames]

    def script():
        ready = 0
        for number in itertools.count():
            ready += signal.getsignal(signal.SIGINT) not in (cli._stop, former)  # the run has begun
            if ready == 40:
                os.kill(os.getpid(), signal.SIGINT)
                ready += 1
            yield pictures[number % 6]
            yield 0.05

    signal.signal(signal.SIGINT, former := signal.default_int_handler)
    with Camera(script) as camera:
        asked = ["run", camera.address, "-o", str(out), "--model", "must3r", "--weights", str(weights)]
        assert cli.main([*asked, "--device", "cpu"]) == 0
        with pytest.raises(InputError, match="choose a model with a memory"):
            cli._streamed(cli._parser([]).parse_args(["run", camera.address, "-o", str(out)]))
    said = capsys.readouterr().err
    assert re.search(r"Of \d+ pictures of '127.0.0.1:\d+/video', \d+ were used", said)
    count = int(re.search(r"Reconstructed (\d+) frames", said).group(1))
    assert count >= 2
    assert len([line for line in out.read_text().splitlines() if not line.startswith("#")]) == count
