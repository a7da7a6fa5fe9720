"""BIRDS 525 SPECIES is known on Kaggle as gpiosenka/100-bird-species (about 2 GB, 90,000 photos).

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
