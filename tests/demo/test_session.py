import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.session import Sessions
from tests.helpers import synthetic_scene


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    sessions = Sessions()
    yield sessions
    sessions.close()


def wait(condition: Callable[[], bool], timeout: float = 10) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_each_visitor_has_a_folder_and_a_key_of_its_own(sessions: Sessions) -> None:
    one, two = sessions.create(), sessions.create()
    assert one.token != two.token
    assert len(one.token) >= 32
    assert one.folder != two.folder
    assert one.token not in str(one.folder)
    assert one.folder.is_dir()
    assert one.folder.stat().st_mode & 0o077 == 0  # nobody else on this machine reads it
    assert sessions.get(one.token) is one
    assert sessions.get("guess") is None
    assert sessions.get(None) is None


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("plain.jpg", "plain.jpg"),
        ("mit Leerzeichen und Ümläuten 写真.JPG", "mit Leerzeichen und Ümläuten 写真.JPG"),
        ("-rf.png", "rf.png"),
        ("...hidden.png", "hidden.png"),
        ("back\\slash\\..\\..\\up.png", "up.png"),
        ("no suffix", "no suffix"),
        ("a:b*c?.mp4", "a_b_c_.mp4"),
        ("new\nline.jpg", "new_line.jpg"),
        ("archive.tar.gz", "archive.tar.gz"),
    ],
)
def test_names_are_kept_where_they_are_harmless(sessions: Sessions, tmp_path: Path, name: str, stored: str) -> None:
    upload = tmp_path / name
    upload.write_bytes(b"picture")
    session = sessions.create()
    path = session.store(upload)
    assert path.name == stored
    assert path.read_bytes() == b"picture"
    assert path.is_relative_to(session.folder)
    assert upload.exists()


def test_names_longer_than_a_file_system_takes_are_cut_and_keep_their_suffix(
    sessions: Sessions, tmp_path: Path
) -> None:
    upload = tmp_path / ("写" * 80 + ".jpeg")
    upload.write_bytes(b"x")
    path = sessions.create().store(upload)
    assert path.suffix == ".jpeg"
    assert len(path.name.encode()) < 140


def test_the_same_name_again_overwrites_nothing(sessions: Sessions, tmp_path: Path) -> None:
    session, stored = sessions.create(), []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "IMG_1.jpg").write_text(str(number))
        stored.append(session.store(folder / "IMG_1.jpg", move=True))
        assert not (folder / "IMG_1.jpg").exists()
    assert [path.read_text() for path in stored] == ["0", "1", "2"]
    assert stored[1].name == "IMG_1 (2).jpg"


def test_same_names_at_the_same_moment_all_arrive(sessions: Sessions, tmp_path: Path) -> None:
    session = sessions.create()
    uploads = []
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        uploads.append(tmp_path / str(number) / "same.jpg")
        uploads[-1].write_text(str(number))
    threads = [threading.Thread(target=session.store, args=(upload,)) for upload in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.read_text() for path in (session.folder / "uploads").iterdir()} == {str(n) for n in range(12)}


def test_the_end_takes_everything_along(sessions: Sessions, tmp_path: Path) -> None:
    session = sessions.create()
    (tmp_path / "a.jpg").write_bytes(b"x")
    session.store(tmp_path / "a.jpg")
    scene = session.scene = synthetic_scene(3)
    session.viewer.show(scene)
    server = session.viewer._server._websock_server._server_thread
    assert server is not None
    watched = weakref.ref(scene.frames[0])
    del scene
    sessions.end(session.token)
    assert sessions.get(session.token) is None
    assert not session.folder.exists()
    assert session.scene is None
    assert wait(lambda: not server.is_alive())
    gc.collect()
    assert watched() is None
    with pytest.raises(RuntimeError):
        _ = session.viewer
    session.end()
    sessions.end(session.token)


def test_ending_stops_the_running_job_before_its_folder_goes(sessions: Sessions) -> None:
    session, seen = sessions.create(), []
    started = threading.Event()

    def job() -> None:
        with session.lock:
            started.set()
            session.cancel.wait(20)
            time.sleep(0.2)
            seen.append(session.folder.exists())

    worker = threading.Thread(target=job)
    worker.start()
    started.wait()
    sessions.end(session.token)
    worker.join()
    assert seen == [True]
    assert not session.folder.exists()


def test_a_job_that_does_not_listen_cannot_keep_a_session(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.session.PATIENCE", 0.2)
    session = sessions.create()
    with session.lock:
        sessions.end(session.token)
    assert not session.folder.exists()


def test_a_page_that_leaves_ends_its_session_after_the_grace_and_a_reload_does_not() -> None:
    sessions = Sessions(grace=0.4)
    try:
        left, reloaded, early = sessions.create(), sessions.create(), sessions.create()
        left.enter()
        left.leave()
        reloaded.enter()
        reloaded.leave()
        reloaded.enter()
        early.enter()
        early.enter()  # the new page may come before the old one has gone
        early.leave()
        assert wait(lambda: sessions.get(left.token) is None)
        time.sleep(0.6)
        assert sessions.get(reloaded.token) is reloaded
        assert sessions.get(early.token) is early
        assert not left.folder.exists()
    finally:
        sessions.close()


def test_a_session_nobody_touches_ends_after_its_lifetime() -> None:
    sessions = Sessions(lifetime=0.6)
    try:
        forgotten, used = sessions.create(), sessions.create()
        for _ in range(8):
            time.sleep(0.15)
            assert sessions.get(used.token) is used
        assert forgotten.ended
        assert not forgotten.folder.exists()
    finally:
        sessions.close()


def test_too_many_sessions_end_the_one_longest_unseen_without_a_page() -> None:
    sessions = Sessions(maximum=3)
    try:
        open_page, idle, recent = sessions.create(), sessions.create(), sessions.create()
        open_page.enter()
        time.sleep(0.02)
        recent.touch()
        sessions.create()
        assert idle.ended
        assert not open_page.ended
        assert not recent.ended
    finally:
        sessions.close()


def test_closing_ends_all_and_removes_what_it_made(tmp_path: Path) -> None:
    own, given = Sessions(), Sessions(tmp_path / "visits")
    folders = [own.create().folder, given.create().folder, given.create().folder]
    assert folders[1].is_relative_to(tmp_path / "visits")
    own.close()
    given.close()
    assert not own.root.exists()
    assert (tmp_path / "visits").is_dir()
    assert not any(folder.exists() for folder in folders)
