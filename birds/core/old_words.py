"""Old keys and values of the command line, and the new ones that replaced them.

An old key is rejected with a message that names the new one, so old scripts are easy to update.
"""

TRANSFERS = {
    "scratch": "start=init train=all",
    "untrained": "start=init train=head",
    "frozen": "start=run train=head",
    "finetune": "start=run train=all",
    "joint": "start=run train=all extra_loss=joint",
    "clusters": "start=run train=all extra_loss=clusters",
    "fixmatch": "start=init train=all extra_loss=fixmatch",
}
TRANSFER = "start=init|run, train=head|last_stages|all and extra_loss=none|joint|clusters|fixmatch"
OLD_WORDS = {
    "transfer": TRANSFER,
    "variant.transfer": TRANSFER,
    "pretext": "pretraining",
    "data.species": "data.classes",
    "data.size": "image.size",
    "encoder.module": "encoder.part",
    "joint_weight": "extra_loss.weight, with extra_loss=joint, clusters or fixmatch",
    "threshold": "extra_loss.threshold, with extra_loss=fixmatch",
    "views": "budget.views",
    "hidden": "pretraining.hidden, with pretraining=masked",
    "temperature": "pretraining.temperature, with pretraining=simclr",
}
OLD_VALUES = {"pool": {"all_species": "all_classes"}}
OLD_FIRST = {"pretext": "pretraining"}  # the first part of a dotted key


def renamed(key: str, value: str = "") -> str | None:
    """A sentence that names the new key for an old one; None if the key is not an old one.

    Args:
        key: the key on the command line, such as `transfer` or `pretext.noise`.
        value: its value, perhaps several separated by commas, or empty if unknown.
    """
    first, _, rest = key.partition(".")
    if first in OLD_FIRST and rest:
        return f"{key} is now {OLD_FIRST[first]}.{rest}"
    if key in OLD_VALUES and value in OLD_VALUES[key]:
        return f"{key}={value} is now {key}={OLD_VALUES[key][value]}"
    if key not in OLD_WORDS:
        return None
    sentence = f"{key} is now {OLD_WORDS[key]}"
    if OLD_WORDS[key] == TRANSFER:
        known = [word for word in value.split(",") if word in TRANSFERS]
        meanings = [f"{key}={word} is {TRANSFERS[word]}" for word in known]
        return "; ".join([sentence, *meanings])
    single = OLD_WORDS[key].isascii() and " " not in OLD_WORDS[key]
    return f"{sentence}: {OLD_WORDS[key]}={value}" if value and single else sentence
