import hashlib

from vloc_models.localize.encoder import NAME, shipped_graph

V1 = 'ae94457690e8189d20c67c19372e19d3382b9bf3e99c3e32fdd9e2a1f0eb2b2a'


def test_the_shipped_encoder_is_frozen() -> None:
    """Maps on robots need these very weights. Others get another name, and run every bench."""
    assert (NAME, hashlib.sha256(shipped_graph()).hexdigest()) == ('vloc-lite-1', V1)
