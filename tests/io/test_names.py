"""Names that occur more than once are found in one pass."""

from bharnet_mm.io.names import repeated


class Counted(str):
    """A name that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)


def test_repeated():
    assert repeated(['b', 'a', 'b', 'c', 'a']) == ['a', 'b'] and repeated('abc') == []
    assert repeated([f'{i // 2}' for i in range(100)], most=2) == ['0', '1']
    repeated([Counted(i // 2) for i in range(10_000)])
    assert Counted.compared < 20_000
