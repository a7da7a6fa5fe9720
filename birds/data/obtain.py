"""How to obtain data sets that cannot come with the project, by their names."""

from birds.core.errors import UserError, nearest

BIRDS525 = """\
BIRDS 525 SPECIES is known on Kaggle as gpiosenka/100-bird-species (about 2 GB, 90,000 photos).

  With Kaggle's own client (may ask for a free account's token in ~/.kaggle/kaggle.json):
    pip install kagglehub
    python -c "import kagglehub; print(kagglehub.dataset_download('gpiosenka/100-bird-species'))"

  If Kaggle no longer has it, from a mirror on the Hugging Face hub, with its own client:
    pip install huggingface_hub
    hf download chriamue/bird-species-dataset --repo-type dataset --include "data/*.tar.gz" \\
      --local-dir birds525
    for part in train valid test; do tar xzf birds525/data/$part.tar.gz -C birds525; done

Then say where it is, once:
    export BIRDS525_ROOT=/the/folder/that/holds/train,valid,test
and look at it:
    birds data check "$BIRDS525_ROOT"

Without it, data=synthetic (the default) needs nothing, and data=folder data.root=FOLDER reads any
folder of classes.
"""

MNIST = """\
MNIST has 60,000 training and 10,000 test images of handwritten digits, 28 x 28 grey
(LeCun et al. 1998), in four files of 12 MB together. They are read as they come, gzipped or not.

  From a mirror, with any client; the folder may have any name:
    mkdir -p mnist
    for file in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
      curl -fL -o mnist/$file-ubyte.gz https://ossci-datasets.s3.amazonaws.com/mnist/$file-ubyte.gz
    done

  With torchvision, where it is installed (the files are then in mnist/MNIST/raw):
    python -c "import torchvision; torchvision.datasets.MNIST('mnist', download=True)"

Their SHA-256:
    440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609  train-images-idx3-ubyte.gz
    3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c  train-labels-idx1-ubyte.gz
    8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6  t10k-images-idx3-ubyte.gz
    f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6  t10k-labels-idx1-ubyte.gz

Then look at them and train:
    birds data check mnist --source idx
    python train.py -m sweeps=mnist data.root=mnist

Where the training images are missing, the 10,000 test images are a data set of their own: a part of
each class becomes its test images (data.test=auto). Fashion-MNIST has the same four names, at
http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/; choose data=fashion_mnist for it.
"""

KNOWN = {"birds525": BIRDS525, "mnist": MNIST}


def how_to_obtain(name: str) -> str:
    """The instructions for a data set. Raises UserError for one that is not known."""
    if name not in KNOWN:
        raise UserError(
            f"{name}: no instructions for such a data set{nearest(name, list(KNOWN))}; "
            f"choose {' or '.join(KNOWN)}"
        )
    return KNOWN[name]
