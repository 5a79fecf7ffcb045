"""Records in a model file: written, read, and nested; what is no record of ours is refused."""

import json
from dataclasses import fields

import pytest

from tn_qnn.errors import CheckpointError
from tn_qnn.models.parameters import RECORDS, parameter_from_json, parameter_to_json
from tn_qnn.train import SPSA, Adam, Blocking, Resilient, TrustRegion
from tn_qnn.train.updates import UPDATES


@pytest.mark.parametrize(
    "record",
    [
        *(rule() for rule in UPDATES.values()),
        Resilient(largest=3.0),
        SPSA(schedule="cosine", warmup=7, final=0.1),
        TrustRegion("amsgrad", 0.3, "l2"),
        Blocking(TrustRegion(TrustRegion(Adam(0.5), 0.2), 0.1, "l2"), tolerance=0.25),
    ],
    ids=repr,
)
def test_a_record_survives_its_file(record):
    text = json.dumps(parameter_to_json(record))
    assert parameter_from_json(json.loads(text), "here") == record


def test_every_update_rule_may_stand_in_a_file():
    assert {*UPDATES.values(), TrustRegion, Blocking} <= set(RECORDS.values())


def test_fields_are_plain_but_for_records_in_them():
    kind, (name, held) = parameter_to_json(Blocking("sgd", 0.5))
    assert (kind, name) == ("record", "Blocking") and set(held) == {
        f.name for f in fields(Blocking)
    }
    assert held["tolerance"] == 0.5 and held["rule"] == ["record", ["SGD", {}]]


def test_a_rule_of_ones_own_cannot_be_saved():
    class Own(Adam):
        pass

    assert parameter_to_json(Own()) is parameter_to_json(Blocking(Own())) is None


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"rule": ["record", ["Popen", {}]]}, "one of SPSA"),
        ({"rule": ["record", ["Adam", {"beta1": 3}]]}, "beta1"),
        ({"rule": ["plain", "lbfgs"]}, "expected one of sgd"),
        ({"rule": ["plain", {"a": 1}]}, "a plain value expected"),
        ({"rule": []}, "2 entries expected"),
        ({"rule": {"a": 1}}, "Blocking.rule is a dict"),
        ({"backoff": 7}, "backoff"),
        ({"limit": 7}, "limit"),
    ],
    ids=str,
)
def test_a_spoiled_record_is_refused(held, message):
    with pytest.raises(CheckpointError, match=message):
        parameter_from_json(["record", ["Blocking", held]], "here")
