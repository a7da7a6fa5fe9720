#!/usr/bin/env bash
# LaTeX for the article (about 500 MB unpacked, without which its PDF is not tested).
set -euo pipefail
command -v latexmk >/dev/null && command -v pdflatex >/dev/null && exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends latexmk texlive-latex-base \
    texlive-latex-recommended texlive-lang-spanish texlive-fonts-recommended lmodern >/dev/null
