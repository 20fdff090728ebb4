"""The guard of the Fleet API, with a store but without a network."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import Message, Metadata, ObjectTree, PushObjectRequest, PushObjectResponse
from flwr.proto.node_pb2 import Node
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore

from transport.limits import MAX_DEPTH, MAX_NODES
from transport.superlink import Guard, RefusedError, check_tree, megabytes


def tree(name: object, *parts: ObjectTree) -> ObjectTree:
    return ObjectTree(object_id=sha256(str(name).encode()).hexdigest(), children=parts)


@pytest.fixture
def store() -> InMemoryObjectStore:
    return InMemoryObjectStore()


def test_a_usual_tree_passes_again_and_again(store: InMemoryObjectStore) -> None:
    usual = tree("m", tree("r", tree("a", tree("c")), tree("b", tree("c"))))
    for _ in range(2):
        check_tree(usual, store)
        store.preregister(1, usual)
    check_tree(tree("n", tree("r", tree("a", tree("c")), tree("b", tree("c")))), store)


def test_width_and_depth_end(store: InMemoryObjectStore) -> None:
    check_tree(tree("w", *(tree(i) for i in range(MAX_NODES - 1))), store)
    with pytest.raises(RefusedError, match="objects"):
        check_tree(tree("w", *(tree(i) for i in range(MAX_NODES))), store)
    chain = tree(0)
    for i in range(1, MAX_DEPTH):
        chain = tree(i, chain)
    check_tree(chain, store)
    with pytest.raises(RefusedError, match="nested"):
        check_tree(tree("top", chain), store)


def test_a_number_means_the_same_wherever_it_stands(store: InMemoryObjectStore) -> None:
    with pytest.raises(RefusedError, match="twice"):
        check_tree(tree("m", tree("a", tree("c")), tree("a")), store)
    store.preregister(1, tree("m", tree("a", tree("c"))))
    for reuse in (tree("n", tree("a")), tree("a", tree("m")), tree("n", tree("m", tree("a")))):
        with pytest.raises(RefusedError, match="known"):
            check_tree(reuse, store)


def push(guard: Guard, node: int, sender: int, reply_to: str, top: ObjectTree, name: str = "") -> Any:
    metadata = Metadata(src_node_id=sender, reply_to_message_id=reply_to, message_id=name or top.object_id)
    request = PushMessagesRequest(
        node=Node(node_id=node), messages_list=[Message(metadata=metadata)], message_object_trees=[top]
    )
    answer = SimpleNamespace(objects_to_push=["x"])
    return guard._pass(request, None, lambda *_: answer, b"")  # type: ignore[arg-type]


def test_a_node_answers_in_its_own_name_and_only_what_it_was_asked(store: InMemoryObjectStore) -> None:
    guard = Guard(lambda: store, 100)
    push(guard, 5, 5, "asked", tree("m"))
    for sender, reply_to, name in ((6, "asked", ""), (5, "", ""), (5, "asked", "other")):
        with pytest.raises(RefusedError):
            push(guard, 5, sender, reply_to, tree("m"), name)


def test_uploads_of_a_reply_are_added_up(store: InMemoryObjectStore) -> None:
    guard = Guard(lambda: store, 100)

    def upload(size: int) -> None:
        request = PushObjectRequest(node=Node(node_id=5), object_content=bytes(size))
        stored = PushObjectResponse(stored=True)
        guard._pass(request, None, lambda *_: stored, b"")  # type: ignore[arg-type]

    push(guard, 5, 5, "asked", tree("m"))
    upload(60)
    push(guard, 5, 5, "asked", tree("m"))  # announced again: still the same reply
    with pytest.raises(RefusedError, match="more than 100 bytes"):
        upload(60)
    push(guard, 5, 5, "next", tree("n"))
    upload(60)


def test_a_limit_that_is_no_number_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMIT", "7")
    assert megabytes(("LIMIT", 3)) == 7 << 20
    monkeypatch.setenv("LIMIT", "lots")
    with pytest.raises(SystemExit, match="LIMIT: a whole number of MiB"):
        megabytes(("LIMIT", 3))


def test_an_object_that_is_uploaded_twice_is_stored_both_times(store: InMemoryObjectStore) -> None:
    guard = Guard(lambda: store, 1 << 20)
    content = b"ArrayChunk  8\x00" + bytes(8)
    name = sha256(content).hexdigest()
    store.preregister(1, ObjectTree(object_id=name))

    def upload(content: bytes) -> bool:
        request = PushObjectRequest(node=Node(node_id=5), object_id=name, object_content=content)
        refusal = PushObjectResponse(stored=False)  # what Flower says to an object that it does not wait for
        return bool(guard._pass(request, None, lambda *_: refusal, b"").stored)  # type: ignore[arg-type]

    assert not upload(content)  # announced, and not here yet
    assert not upload(b"")
    store.put(name, content)
    assert upload(content)
    assert not upload(content[:-1])
