#!/usr/bin/env bash
# A second environment with the libraries of pretrained encoders, on top of .venv.
#
# torchvision's wheel here is built for CUDA; beside the CPU build of torch it cannot register two
# operators of its own, and whatever imports torchvision fails. Declaring them is enough for models.
# Apart from .venv, so that nothing else can meet that pair.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-encoders
test -x $venv/bin/python || python3 -m venv $venv
inside=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' >"$inside/main.pth"
$venv/bin/pip install --quiet --disable-pip-version-check --no-deps \
    timm==1.0.31 torchvision==0.28.0 safetensors huggingface-hub httpx2 httpcore2 truststore hf-xet \
    typer-slim shellingham transformers==5.24.0 tokenizers==0.23.3 regex==2026.11.19
extension=$inside/torchvision/extension.py
grep -q _declared "$extension" || cat >>"$extension" <<'END'


if not _has_ops():
    _declared = torch.library.Library("torchvision", "DEF")
    _declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
END
$venv/bin/python -c 'import torchvision, timm, transformers, lightning'
