"""Words of the command line that were replaced, and what to say instead.

They are refused with the new ones, so that notes and scripts of before can be brought up to date
from the message alone.
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
    "joint_weight": "extra_loss.weight, beside extra_loss=joint, clusters or fixmatch",
    "threshold": "extra_loss.threshold, beside extra_loss=fixmatch",
    "views": "budget.views",
    "hidden": "pretraining.hidden, beside pretraining=masked",
    "temperature": "pretraining.temperature, beside pretraining=simclr",
}
OLD_VALUES = {"pool": {"all_species": "all_classes"}}
OLD_FIRST = {"pretext": "pretraining"}  # the first word of a dotted key, whatever follows


def renamed(key: str, value: str = "") -> str | None:
    """What an old word is called by now, in a sentence; None for a word that is no old one.

    Args:
        key: the key as it was asked for, such as `transfer` or `pretext.noise`.
        value: its value, perhaps several with commas, or empty where it is not known.
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
