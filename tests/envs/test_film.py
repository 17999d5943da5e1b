import sys

import numpy as np
import pytest
from PIL import Image
from pluralign_envs.film import save_film


def frames(count, shape=(12, 16, 3)):
    """A white bar that moves one pixel to the right per frame."""
    made = np.zeros((count, *shape), dtype=np.uint8)
    for i in range(count):
        made[i, :, i] = 255
    return list(made)


def test_a_film_holds_its_frames_and_speed(tmp_path):
    with Image.open(save_film(frames(6), tmp_path / "new" / "a.gif", fps=20)) as film:
        assert (film.n_frames, film.size, film.info["duration"], film.info["loop"]) == (6, (16, 12), 50, 0)
        for i in range(6):
            film.seek(i)
            assert np.asarray(film.convert("L")).mean(0).argmax() == i


def test_a_fast_film_leaves_frames_out(tmp_path):
    with Image.open(save_film(frames(15), tmp_path / "a.gif", fps=125)) as film:
        assert (film.n_frames, film.info["duration"]) == (5, 20)  # 24 ms, in the hundredths a GIF knows


@pytest.mark.parametrize(
    ("made", "name", "fps", "message"),
    [
        (frames(2), "a.avi", 20, "`path` must end in .gif or .mp4, got 'a.avi'"),
        ([], "a.gif", 20, "`frames` must be pictures of one shape"),
        ([*frames(1), np.zeros((2, 2, 3))], "a.gif", 20, "`frames` must be pictures of one shape"),
        (frames(2), "a.gif", 0, "`fps` must be positive, got 0."),
    ],
)
def test_a_wrong_call_is_explained(made, name, fps, message, tmp_path):
    with pytest.raises(ValueError) as caught:
        save_film(made, tmp_path / name, fps=fps)
    assert message in str(caught.value)


def test_without_an_encoder_a_film_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"^an MP4 needs ffmpeg.*`pip install imageio-ffmpeg`"):
        save_film(frames(2), tmp_path / "a.mp4", fps=20)


def test_an_encoder_gets_every_byte(tmp_path, monkeypatch):
    """A stand-in for ffmpeg that writes what it is given, the frames, into the file that it is told."""
    fake = tmp_path / "ffmpeg"
    fake.write_text('#!/bin/sh\nfor last; do :; done\nexec /bin/cat > "$last"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = save_film(frames(3), tmp_path / "a.mp4", fps=20)
    assert path.read_bytes() == b"".join(frame.tobytes() for frame in frames(3))
    fake.write_text("#!/bin/sh\necho no such codec >&2\nexit 1\n")
    with pytest.raises(ValueError, match=r"ffmpeg could not write .*: no such codec"):
        save_film(frames(3), tmp_path / "b.mp4", fps=20)
