import itertools
import time

import numpy as np
import pytest

from deepfer import LABELS, Face, draw_faces
from deepfer.drawing import DARK, STYLES, UNCLASSIFIED, text_colour

GROUND = 128  # of the images drawn on, a gray that nothing is drawn in
# Linear RGB as it is seen without one kind of cone (Machado, Oliveira, Fernandes 2009, severity 1).
SIGHT = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def blank(height: int = 480, width: int = 640) -> np.ndarray:
    return np.full((height, width, 3), GROUND, np.uint8)


def face(box: tuple[int, int, int, int], emotion: str = "happy", confidence: float = 0.93) -> Face:
    rest = (1 - confidence) / 6
    return Face(box, probabilities={label: confidence if label == emotion else rest for label in LABELS})


def touched(picture: np.ndarray) -> tuple[int, int, int, int]:
    """The box around everything that is not background."""
    y, x = np.nonzero((picture != GROUND).any(axis=2))
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=2).sum())


def letters(picture: np.ndarray, emotion: str) -> int:
    """The number of pixels that have nearly the colour of this emotion's text, which occurs nowhere else."""
    away = np.abs(picture.astype(int) - text_colour(STYLES[emotion].colour)).max(axis=2)
    return int((away < 60).sum())


def linear(colour: tuple[int, int, int]) -> np.ndarray:
    channels = np.array(colour) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    """The WCAG contrast ratio, from 1 to 21."""
    low, high = sorted(float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


# The table


def test_every_emotion_has_its_own_style() -> None:
    assert tuple(STYLES) == LABELS
    assert len({style.colour for style in STYLES.values()}) == len({style.emoji for style in STYLES.values()}) == 7
    for style in STYLES.values():
        assert bytes.fromhex(style.hex.removeprefix("#")) == bytes(style.colour)


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_differ_in_every_kind_of_colour_vision(sight: str) -> None:
    from skimage.color import deltaE_ciede2000, rgb2lab

    def seen(colour: tuple[int, int, int]) -> np.ndarray:
        light = np.clip(np.array(SIGHT[sight]) @ linear(colour), 0, 1)
        return rgb2lab(np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))

    for (one, a), (other, b) in itertools.combinations(STYLES.items(), 2):
        assert deltaE_ciede2000(seen(a.colour), seen(b.colour)) > 15.5, (one, other)


@pytest.mark.parametrize("emotion", LABELS)
def test_colours_and_text_have_enough_contrast(emotion: str) -> None:
    colour = STYLES[emotion].colour
    assert contrast(colour, (255, 255, 255)) >= 1.99
    assert contrast(colour, (24, 24, 27)) >= 2.99  # Gradio's dark page
    assert contrast(colour, text_colour(colour)) >= 4.5


# What is drawn


def test_without_faces_the_result_is_a_copy() -> None:
    picture = blank()
    drawn = draw_faces(picture, [])
    assert np.array_equal(drawn, picture)
    assert not np.shares_memory(drawn, picture)


def test_the_input_is_unchanged() -> None:
    picture = blank()
    picture.flags.writeable = False
    assert not np.array_equal(draw_faces(picture, [face((100, 100, 200, 200))]), picture)
    assert (picture == GROUND).all()


@pytest.mark.parametrize("emotion", LABELS)
def test_a_face_gets_a_box_and_a_tag_in_its_emotions_colour(emotion: str) -> None:
    box = (200, 150, 320, 290)
    drawn = draw_faces(blank(), [face(box, emotion)])
    assert drawn.dtype == np.uint8
    assert drawn.shape == (480, 640, 3)
    colour = STYLES[emotion].colour
    for x, y in ((260, 150), (260, 289), (200, 220), (319, 220)):  # the middle of each edge
        edge = drawn[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5]
        assert count(edge, colour) >= 9
    assert (drawn[170:270, 220:300] == GROUND).all()  # the face itself stays visible
    assert touched(drawn)[1] < 140  # the tag, above
    tag = drawn[:148]
    assert count(tag, colour) > 500
    assert count(tag, text_colour(colour)) > 30  # its letters
    assert (drawn[295:] == GROUND).all()


def unclear(box: tuple[int, int, int, int]) -> Face:
    return Face(box, probabilities=dict.fromkeys(LABELS, 0.01) | {"happy": 0.5, "angry": 0.45})


def test_an_unclear_face_is_paler_and_dashed() -> None:
    box = (200, 250, 320, 390)
    drawn, clear = draw_faces(blank(), [unclear(box)]), draw_faces(blank(), [face(box)])
    pale = tuple((value + 256) // 2 for value in STYLES["happy"].colour)
    assert count(drawn, pale) > 500
    assert count(drawn, STYLES["happy"].colour) == 0
    edge, whole = ((picture[300:380, 200:206] != GROUND).any(axis=(1, 2)) for picture in (drawn, clear))
    assert whole.all()
    assert 0.4 < edge.mean() < 0.9  # gaps
    assert 2 <= np.count_nonzero(np.diff(edge.astype(int)) == 1) <= 10  # dashes


def test_an_unclear_tag_shortens_where_it_would_cover() -> None:
    def right_end(*others: Face) -> int:
        drawn = draw_faces(blank(), [*others, unclear((100, 200, 180, 290))])
        return 90 + touched(drawn[172:198, 90:238])[2]

    assert right_end() > 235  # much wider than the face
    walls = [Face((x, y, 310, y + 50)) for x, y in ((240, 150), (240, 290))]  # beside the places above and below
    assert 180 < right_end(*walls) < 235


def test_tags_in_a_crowd_cover_no_face() -> None:
    boxes = [(x, y, x + 30, y + 34) for x in range(20, 600, 70) for y in range(30, 440, 80)]
    faces = [unclear(box) if i % 4 == 0 else face(box, "sad") for i, box in enumerate(boxes)]
    drawn = draw_faces(blank(), faces)
    for x1, y1, x2, y2 in boxes:
        assert (drawn[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8] == GROUND).all()


def test_the_tag_shows_emotion_and_confidence() -> None:
    box = (200, 150, 320, 290)
    drawn = [draw_faces(blank(), [face(box, "happy", confidence)]) for confidence in (0.931, 0.934, 0.94)]
    assert np.array_equal(drawn[0], drawn[1])  # both are 93%
    assert not np.array_equal(drawn[1], drawn[2])


def test_a_face_without_probabilities_gets_only_its_box() -> None:
    drawn = draw_faces(blank(), [Face((200, 150, 320, 290))])
    assert count(drawn, UNCLASSIFIED) > 400
    assert np.abs(np.subtract(touched(drawn), (200, 150, 320, 290))).max() <= 1


@pytest.mark.parametrize(
    ("box", "with_room"),
    [
        ((0, 0, 60, 60), (290, 200, 350, 260)),
        ((580, 0, 640, 60), (290, 200, 350, 260)),
        ((0, 420, 60, 480), (290, 200, 350, 260)),
        ((580, 420, 640, 480), (290, 200, 350, 260)),
        ((0, 0, 640, 480), (0, 200, 640, 260)),
        ((0, 0, 640, 10), (0, 200, 640, 260)),
    ],
)
def test_text_is_not_cut_off_at_the_edges(box: tuple[int, int, int, int], with_room: tuple[int, int, int, int]) -> None:
    found, expected = (letters(draw_faces(blank(), [face(at, "surprise")]), "surprise") for at in (box, with_room))
    assert found == expected > 100


def test_boxes_are_clipped_to_the_image() -> None:
    assert np.array_equal(draw_faces(blank(), [face((700, 10, 800, 90)), face((5, 5, 5, 50))]), blank())
    drawn = draw_faces(blank(), [Face((-50, -50, 100, 100))])
    assert np.array_equal(drawn, draw_faces(blank(), [Face((0, 0, 100, 100))]))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 5000), (5000, 1), (12, 12), (24, 24), (40, 200)])
def test_tiny_and_narrow_images(shape: tuple[int, int]) -> None:
    height, width = shape
    drawn = draw_faces(blank(height, width), [face((0, 0, width, height)), face((0, 0, 1, 1)), Face((0, 0, 1, 1))])
    assert drawn.shape == (height, width, 3)
    assert (drawn != GROUND).any()


def test_tags_of_neighbours_do_not_overlap() -> None:
    # Two columns of stacked faces: a tag above the lower one would lie on the upper one.
    boxes = [(x, y, x + 60, y + 60) for x in (100, 400) for y in (100, 190, 280)]
    together = draw_faces(blank(), [face(box, "sad") for box in boxes])
    alone = [draw_faces(blank(), [face(box, "sad")]) for box in boxes]
    assert letters(alone[0], "sad") > 50
    assert letters(together, "sad") == sum(letters(drawn, "sad") for drawn in alone)


def test_text_and_lines_grow_with_the_image() -> None:
    def height_of_tag(scale: int) -> int:
        drawn = draw_faces(
            blank(480 * scale, 640 * scale), [face((200 * scale, 150 * scale, 320 * scale, 290 * scale))]
        )
        return 150 * scale - touched(drawn)[1]

    small = height_of_tag(1)
    assert 14 <= small <= 40
    assert height_of_tag(4) == pytest.approx(4 * small, rel=0.1)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        draw_faces(np.zeros((4, 4), np.uint8), [])


def test_non_contiguous_arrays() -> None:
    flipped = np.arange(480 * 640 * 3, dtype=np.uint32).astype(np.uint8).reshape(480, 640, 3)[:, ::-1]
    drawn = draw_faces(flipped, [face((200, 150, 320, 290))])
    assert np.array_equal(drawn[300:], flipped[300:])
    assert not np.array_equal(drawn, flipped)


def test_quick() -> None:
    picture, faces = blank(), [face((200, 150, 320, 290))]
    draw_faces(picture, faces)
    times = []
    for _ in range(20):
        start = time.process_time()
        draw_faces(picture, faces)
        times.append(time.process_time() - start)
    assert min(times) < 0.01  # 1 ms where nothing else runs
    start = time.process_time()
    drawn = draw_faces(picture, [face((x, y, x + 20, y + 20)) for x in range(0, 640, 40) for y in range(0, 480, 30)])
    assert time.process_time() - start < 5  # 256 faces, each tag looking for a free place
    assert count(drawn, DARK) > 500
