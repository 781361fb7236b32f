import torch

from recon.models.panoptic import STUFF, aggregate, as_segments, panoptic

LABELS = 4  # and one more that means none
WALL, CHAIR, NONE = 0, 2, LABELS


def queries(*kinds: int) -> torch.Tensor:
    """Logits of queries that are surely of these classes."""
    return 10 * torch.nn.functional.one_hot(torch.tensor(kinds), LABELS + 1).float()


def masks(*parts: tuple[int, slice]) -> torch.Tensor:
    """Logits ``[Q,2,4,8]``: each query is at some columns of one view, and nowhere else."""
    found = torch.full((len(parts), 2, 4, 8), -8.0)
    for query, (view, columns) in enumerate(parts):
        found[query, view, :, columns] = 8
    return found


def test_things_are_told_apart_and_stuff_is_one():
    given = masks((0, slice(0, 2)), (0, slice(2, 5)), (1, slice(0, 4)), (1, slice(4, 8)))
    found = panoptic(queries(WALL, CHAIR, CHAIR, WALL), given, (4, 8), stuff=(WALL,))
    assert found.segmentation[0, 0].tolist() == [1, 1, 2, 2, 2, *found.segmentation[0, 0, 5:].tolist()]
    assert found.segmentation[1, 0].tolist() == [3] * 4 + [1] * 4
    assert [(each.id, each.label, each.thing) for each in found.segments] == [
        (1, WALL, False), (2, CHAIR, True), (3, CHAIR, True), (1, WALL, False),
    ]  # fmt: skip
    assert all(0.99 < each.score <= 1 for each in found.segments)


def test_masks_are_brought_to_the_size_of_the_photo():
    given = masks((0, slice(0, 4)), (0, slice(4, 8)))
    found = panoptic(queries(CHAIR, CHAIR), given, (40, 120), stuff=())
    assert found.segmentation.shape == (2, 40, 120)
    assert (found.segmentation[0, :, :58] == 1).all()
    assert (found.segmentation[0, :, 62:] == 2).all()
    assert found.query_classes().shape == (2, 2, LABELS + 1, 40, 120)


def test_nothing_recognised_is_told():
    for kinds, strength in (((NONE, NONE), 1.0), ((CHAIR, WALL), 0.05)):
        found = panoptic(strength * queries(*kinds), masks((0, slice(0, 4)), (1, slice(4, 8))), (6, 12), stuff=(WALL,))
        assert not found.segments
        assert (found.segmentation == -1).all()
        maps = found.query_classes()
        assert maps.shape == (2, 1, LABELS + 1, 6, 12)
        assert (maps[:, :, -1] == 1).all()
        assert (as_segments(found.segmentation) == -1).all()


def test_what_loses_most_of_its_mask_is_dropped():
    given = masks((0, slice(0, 8)), (0, slice(0, 6)))
    given[1] += 1  # surer, where both are
    found = panoptic(queries(CHAIR, CHAIR), given, (4, 8), stuff=())
    assert len(found.segments) == 1
    assert found.segmentation[0, 0].tolist() == [1] * 6 + [0] * 2


def test_words_ask_for_some():
    given = masks((0, slice(0, 4)), (0, slice(4, 8)))
    words = torch.tensor([[0.1, 3.0]])
    found = panoptic(queries(CHAIR, CHAIR), given, (4, 8), stuff=(), words=words)
    assert found.segmentation[0, 0].tolist() == [0] * 4 + [1] * 4
    nobody = panoptic(queries(CHAIR, NONE), given, (4, 8), stuff=(), words=words)
    assert not nobody.segments


def test_aggregation_takes_the_best_query_and_class_of_each_pixel():
    rendered = torch.zeros(1, 2, LABELS + 1, 1, 4)
    rendered[0, 0, CHAIR, 0, 0] = 0.9
    rendered[0, 1, CHAIR, 0, 1] = 0.8
    rendered[0, 1, WALL, 0, 2] = 0.7
    rendered[0, 1, CHAIR, 0, 3] = 0.2  # too little
    found = aggregate(rendered, [0.9, 0.8], stuff=(WALL,))
    assert found.semantic[0, 0].tolist() == [CHAIR + 1, CHAIR + 1, WALL + 1, 0]
    assert found.instance[0, 0].tolist() == [1, 2, STUFF + WALL + 1, 0]
    assert as_segments(found.instance)[0, 0].tolist() == [1, 2, 101, -1]
    assert [(each.id, each.label) for each in found.segments] == [(1, CHAIR), (2, CHAIR)]
    faint = aggregate(rendered, [0.9, 0.8], stuff=(WALL,), threshold=0.1)
    assert faint.semantic[0, 0, 3] == CHAIR + 1
