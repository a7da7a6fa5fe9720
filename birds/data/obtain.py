"""Instructions for obtaining the data sets that are not part of the project."""

from birds.core.errors import UserError, nearest

BIRDS525 = """\
BIRDS 525 SPECIES is known on Kaggle as gpiosenka/100-bird-species (about 2 GB, 90,000 photos).

  With Kaggle's own client (it may need the token of a free account in ~/.kaggle/kaggle.json):
    pip install kagglehub
    python -c "import kagglehub; print(kagglehub.dataset_download('gpiosenka/100-bird-species'))"

  If Kaggle no longer has it, from a mirror on the Hugging Face hub, with its own client:
    pip install huggingface_hub
    hf download chriamue/bird-species-dataset --repo-type dataset --include "data/*.tar.gz" \\
      --local-dir birds525
    for part in train valid test; do tar xzf birds525/data/$part.tar.gz -C birds525; done

Then set the folder once:
    export BIRDS525_ROOT=/the/folder/that/holds/train,valid,test
and check the images:
    birds data check "$BIRDS525_ROOT"

Without this data set, use data=synthetic (the default), which needs no download, or
data=folder data.root=FOLDER, which reads any folder of classes.
"""

MNIST = """\
MNIST has 60,000 training and 10,000 test images of handwritten digits, 28 x 28 grey
(LeCun et al. 1998), in four files with 12 MB in total. They can be gzipped or not.

  From a mirror, with any client; the folder may have any name:
    mkdir -p mnist
    for file in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
      curl -fL -o mnist/$file-ubyte.gz https://ossci-datasets.s3.amazonaws.com/mnist/$file-ubyte.gz
    done

  With torchvision, if it is installed (the files are then in mnist/MNIST/raw):
    python -c "import torchvision; torchvision.datasets.MNIST('mnist', download=True)"

Their SHA-256:
    440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609  train-images-idx3-ubyte.gz
    3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c  train-labels-idx1-ubyte.gz
    8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6  t10k-images-idx3-ubyte.gz
    f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6  t10k-labels-idx1-ubyte.gz

Then check the images and train:
    birds data check mnist --source idx
    python train.py -m sweeps=mnist data.root=mnist

Without the training images, the 10,000 test images are used as a data set of their own: a part of
each class becomes its test images (data.test=auto). Fashion-MNIST has files with the same names, at
http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/; use data=fashion_mnist for it.
"""

KNOWN = {"birds525": BIRDS525, "mnist": MNIST}


def how_to_obtain(name: str) -> str:
    """The instructions for a data set. Raises UserError for an unknown name."""
    if name not in KNOWN:
        raise UserError(
            f"{name}: there are no instructions for this data set{nearest(name, list(KNOWN))}; "
            f"choose {' or '.join(KNOWN)}"
        )
    return KNOWN[name]
