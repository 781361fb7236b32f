"""What the page says and does, without a browser; `test_browser` looks at it through one."""

import asyncio
import base64
import gc
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest

from demo import markup, page, pictures, shown, style, uploads
from demo.layout import layout
from demo.models import Download
from demo.session import Sessions
from demo.visit import Visit, visit
from recon import CARDS, InputError, Plan
from recon.models import Card
from tests.helpers import moving_scene, synthetic_scene

DATA = Path(__file__).parent.parent / "data"
DESK = sorted((DATA / "desk").glob("*.jpg"))


def silent(fraction: float, name: str) -> None:
    pass


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    sessions = Sessions(tmp_path)
    yield sessions
    sessions.close()


@pytest.fixture
def visitor(sessions: Sessions) -> Visit:
    return visit(sessions.create())


def upload(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


def stored(visitor: Visit) -> list[Path]:
    return sorted((visitor.session.folder / "uploads").iterdir())


def test_a_model_without_choices_shows_no_place_for_them(visitor: Visit) -> None:
    with gr.Blocks():
        parts = layout()
    for name, classes in (("siu3r", ["gone"]), ("embedded", [])):
        visitor.choose(name)
        assert shown.model(parts, visitor)[parts.choosing].elem_classes == classes


def test_files_that_a_scene_has_nothing_for_are_not_offered(visitor: Visit) -> None:
    with gr.Blocks():
        parts = layout()
    for scene, offered in ((synthetic_scene(2), False), (moving_scene(2), True)):
        visitor.session.scene = scene
        button = shown.scene(parts, visitor)[parts.downloads["masks.zip"]]
        assert (button.visible, button.interactive) == (offered, offered)


# --- pictures ------------------------------------------------------------------------------------------------------


def test_a_picture_survives_its_address() -> None:
    image = synthetic_scene(1).frames[0].image
    encoded = base64.b64decode(pictures.address(image, quality=95).split(",")[1])
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded.astype(int) - image).mean() < 6


def test_the_depth_bar_reads_what_the_picture_shows() -> None:
    frame = synthetic_scene(1).frames[0]
    frame.depth[:4] = 0
    chart = pictures.depth_chart(frame)
    assert list(chart.ticks) == sorted(chart.ticks)
    assert (chart.picture[:4] == 0).all()
    for colour, pixel in (
        (chart.colours[0], np.unravel_index(np.where(frame.known(), frame.depth, np.inf).argmin(), frame.depth.shape)),
        (chart.colours[-1], np.unravel_index(frame.depth.argmax(), frame.depth.shape)),
    ):
        assert colour == f"rgb({','.join(str(value) for value in chart.picture[pixel])})"


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_charts_of_flat_or_unknown_maps_have_ticks_in_order(value: float) -> None:
    frame = synthetic_scene(1).frames[0]
    frame.depth[:], frame.confidence[:] = value, value
    for chart in (pictures.depth_chart(frame), pictures.confidence_chart(frame)):
        assert list(chart.ticks) == sorted(chart.ticks)
        assert np.isfinite(chart.ticks).all()


# --- words ---------------------------------------------------------------------------------------------------------


def test_file_names_cannot_speak_html() -> None:
    evil = "<img src=x onerror=alert(1)>'\".jpg"
    frame = replace(synthetic_scene(1).frames[0], name=evil)
    for html in (
        markup.strip(["data:,"], [evil], [0]),
        markup.figures(frame, metric=False),
        markup.failed(evil),
        markup.quiet(evil),
        markup.notes([evil]),
        markup.busy(evil, 0.5, evil),
    ):
        assert "<img src=x" not in html
        assert not re.search(r"""=["'][^"'>]*<img""", html)


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_says_in_plain_words_what_its_licence_allows_and_links_it(card: Card) -> None:
    html = markup.card(card, here=False)
    assert f'href="{card.licence_url}"' in html
    assert markup.licence_name(card) in html
    assert ("commercial use allowed" in html) == card.commercial
    assert ("not for commercial use" in html) != card.commercial
    assert ("token" in html) == card.gated
    assert ("scale unknown" in html) != card.metric


def test_a_card_says_what_is_to_be_downloaded_and_what_is_here() -> None:
    assert "comes with the app" in markup.card(CARDS["embedded"], here=True)
    assert "5.0 GB to download once" in markup.card(CARDS["vggt"], here=False)
    here = markup.card(CARDS["vggt"], here=True)
    assert "on this machine already" in here
    assert "download" not in here


def test_before_a_download_it_is_said_what_comes_from_where_under_which_licence() -> None:
    html = markup.terms(CARDS["vggt-commercial"], "huggingface.co", "~/hub")
    for part in ("5.0 GB", "huggingface.co", "~/hub", CARDS["vggt-commercial"].licence_url, "VGGT License v1"):
        assert part in html


def test_weights_without_a_licence_are_asked_for_as_such() -> None:
    assert markup.agreement(CARDS["vggt"]) == "I accept the licence CC-BY-NC-4.0"
    assert "no licence" in markup.agreement(CARDS["siu3r"])
    assert "no stated licence" in markup.card(CARDS["siu3r"], here=False)
    assert "no stated licence" in markup.terms(CARDS["siu3r"], "huggingface.co", "~/hub")


def test_an_address_in_a_complaint_can_be_followed_and_nothing_else_is_a_link() -> None:
    html = markup.failed("Ask at https://huggingface.co/facebook/VGGT-1B, then 'javascript:alert(1)' or <a>.")
    assert html.count("<a ") == 1
    assert 'href="https://huggingface.co/facebook/VGGT-1B"' in html


def test_a_plan_says_how_many_of_the_views_it_takes_and_why() -> None:
    html = markup.plan(Plan((0, 5, 9), (256, 192), "float32", 1_500_000_000, 12.3, ("Spread evenly.",)), 10)
    for part in ("3 of 10 views", "12 s", "1.5 GB", "Spread evenly."):
        assert part in html


def test_a_plan_says_what_is_free_where_that_is_known() -> None:
    plan = Plan((0, 1), (518, 392), "bfloat16", 9_300_000_000, 0.2, device="cuda", available=140_000_000_000)
    assert "needs <b>9.3 GB</b>; you have 140.0 GB free on the GPU" in markup.plan(plan, 2)
    assert "free</div>" in markup.plan(replace(plan, device="cpu"), 2)


def test_a_download_says_how_much_is_here_and_how_long_it_still_takes() -> None:
    html = markup.downloading(Download("Downloading", 0.25, "model.pt: 1 of 4 MB, 1 MB/s", 123.0))
    for part in ("Downloading", "25 %", "1 of 4 MB", "about 2 min 03 s left"):
        assert part in html
    assert "left" not in markup.downloading(Download("Asking", 0.0, "the Hub for VGGT", None))


def test_units_are_never_metres_where_the_scale_is_unknown() -> None:
    frame = synthetic_scene(1).frames[0]
    assert "metres" in markup.figures(frame, metric=True)
    assert "metres" not in markup.figures(frame, metric=False)


def test_durations_read_as_people_say_them() -> None:
    said = {0.01: "0.1 s", 3.21: "3.2 s", 42.4: "42 s", 119.7: "2 min 00 s", 125: "2 min 05 s", 4680: "1 h 18 min"}
    assert {seconds: markup.duration(seconds) for seconds in said} == said


def test_every_text_can_be_read_on_its_ground() -> None:
    """WCAG AA: 4.5 to 1 for the texts and grounds of the theme, in both of Gradio's modes."""
    theme = style.theme()
    assert theme.body_text_color == theme.body_text_color_dark
    for text in ("#e5ebf5", "#9fadc2", "#c4cede", "#fecaca", "#86efac", "#fcd34d"):
        for ground in ("#0b0f17", "#121826", "#1c2638", "#431418" if text == "#fecaca" else "#0d121d"):
            assert contrast(text, ground) >= 4.5, (text, ground)


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


# --- what is dropped in --------------------------------------------------------------------------------------------


def test_photos_come_in_natural_order_and_all_ticked(visitor: Visit, tmp_path: Path) -> None:
    names = ["IMG_10.jpg", "IMG_9.jpg", "IMG_1.jpg"]
    files = [upload(tmp_path / "in", name, DESK[i].read_bytes()) for i, name in enumerate(names)]
    uploads.add(visitor, files, silent)
    assert [view.name for view in visitor.media.views] == ["IMG_1.jpg", "IMG_9.jpg", "IMG_10.jpg"]
    assert visitor.ticked == [0, 1, 2]
    assert not any(file.exists() for file in files), "the upload folder keeps nothing"


def test_more_photos_join_those_that_are_there_and_ticks_stay(visitor: Visit, tmp_path: Path) -> None:
    uploads.add(visitor, [upload(tmp_path / "in", f"{i}.jpg", DESK[i].read_bytes()) for i in (0, 1)], silent)
    visitor.ticked = [1]
    uploads.add(visitor, [upload(tmp_path / "in", "2.jpg", DESK[2].read_bytes())], silent)
    assert len(visitor.media.views) == 3
    assert visitor.ticked == [1, 2]


@pytest.mark.parametrize("name", ["-rf.jpg", "a b.jpg", "zażółć 写真.jpg", "..\\..\\evil.jpg", "....jpg"])
def test_odd_names_are_only_names(visitor: Visit, tmp_path: Path, name: str) -> None:
    uploads.add(visitor, [upload(tmp_path / "in", name, DESK[0].read_bytes())], silent)
    path = visitor.media.views[0].path
    assert path is not None
    assert path.parent == visitor.session.folder / "uploads"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.jpg", b"this is no picture"),
        ("empty.jpg", b""),
        ("cut.jpg", DESK[0].read_bytes()[:400]),
        ("cut.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isom"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_what_was_there_stays(
    visitor: Visit, tmp_path: Path, name: str, content: bytes
) -> None:
    uploads.add(visitor, [upload(tmp_path / "in", "good.jpg", DESK[0].read_bytes())], silent)
    with pytest.raises(InputError) as error:
        uploads.add(visitor, [upload(tmp_path / "in", name, content)], silent)
    assert name in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)
    assert [view.name for view in visitor.media.views] == ["good.jpg"]
    assert [path.name for path in stored(visitor)] == ["good.jpg"], "and the next try has its own name"


@pytest.mark.parametrize("example", [None, *uploads.EXAMPLES])
def test_pictures_that_are_taken_away_leave_no_file(visitor: Visit, tmp_path: Path, example: str | None) -> None:
    uploads.add(visitor, [upload(tmp_path / "in", "good.jpg", DESK[0].read_bytes())], silent)
    if example is None:
        uploads.remove(visitor)
    else:
        uploads.replace_by_example(visitor, example, silent)
        uploads.remove(visitor)
        assert all(path.exists() for path in uploads.EXAMPLES[example])
    assert stored(visitor) == []
    assert (visitor.media.views, visitor.ticked) == ([], [])


def test_a_bad_file_among_good_ones_is_named_in_a_note(visitor: Visit, tmp_path: Path) -> None:
    files = [upload(tmp_path / "in", "good.jpg", DESK[0].read_bytes()), upload(tmp_path / "in", "bad.jpg", b"no")]
    uploads.add(visitor, files, silent)
    assert len(visitor.media.views) == 1
    assert any("bad.jpg" in note for note in visitor.media.notes)


def test_a_video_is_taken_again_with_another_number_of_frames(visitor: Visit, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "walk.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 120))
    texture = np.random.default_rng(0).integers(0, 255, (15, 60, 3), np.uint8)
    wall = cv2.resize(texture, (480, 120), interpolation=cv2.INTER_NEAREST)
    for i in range(40):
        writer.write(np.ascontiguousarray(wall[:, 8 * i : 8 * i + 160]))
    writer.release()
    uploads.add(visitor, [upload(tmp_path / "in", "0.jpg", DESK[0].read_bytes()), tmp_path / "walk.mp4"], silent)
    assert visitor.frames_per_video >= 4
    uploads.resample_videos(visitor, 3, silent)
    assert [view.time is None for view in visitor.media.views] == [True, False, False, False]
    assert (visitor.ticked, visitor.frames_per_video) == ([0, 1, 2, 3], 3)
    assert not any("8 frames" in note for note in visitor.media.notes), "what the reading before said is gone"


def test_reading_tells_how_far_it_is_and_stops_when_nobody_listens() -> None:
    done: list[float] = []

    def work(progress: uploads.Progress) -> None:
        for i in range(100):
            progress(i / 100, "picture")
            done.append(i)
            time.sleep(0.02)

    complaints: list[object] = []

    async def listen() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        watching = uploads.watch(work)
        async for fraction, _ in watching:
            if fraction is not None and fraction > 0:
                break
        await watching.aclose()
        del watching
        await asyncio.sleep(0.3)
        gc.collect()

    asyncio.run(listen())
    assert 1 <= len(done) < 60
    assert complaints == []


# --- the page as a whole -------------------------------------------------------------------------------------------


def test_the_page_asks_nobody_else_and_hides_its_wiring(sessions: Sessions) -> None:
    blocks = page.build(sessions)
    assert isinstance(blocks, gr.Blocks)
    assert blocks.analytics_enabled is False
    assert {fn.api_visibility for fn in blocks.fns.values()} == {"private"}
    assert "http" not in page.launch_options()["css"]


def test_filters_and_downloads_never_wait_for_a_run(sessions: Sessions) -> None:
    for fn in page.build(sessions).fns.values():
        assert fn.queue is False or fn.concurrency_limit is None
