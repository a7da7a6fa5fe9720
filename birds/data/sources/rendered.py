"""The embedded birds: 24 invented species, drawn by code at the first use and read as a folder."""

import dataclasses
from typing import Annotated

from pydantic import Field

from birds.core.errors import UserError
from birds.core.spec import NUMBERS_ARE_NAMES, Choices
from birds.data.files import Files, root_folder
from birds.data.sources import Scan
from birds.data.sources.folder import Folder

ITS_OWN = ("birds.csv", "synthetic.json")  # written together with the drawn birds


class Rendered(Files):
    """The drawn birds of one seed, in a folder of their own."""

    class Options(Choices):
        """root: the output folder. seed: the seed of the species' colours and marks."""

        model_config = NUMBERS_ARE_NAMES

        root: str | None = None
        seed: Annotated[int, Field(ge=0)] = 0
        hint: str = ""

    def __init__(self, options: Options) -> None:
        super().__init__(root_folder(options.root, name="rendered", hint=options.hint))
        self.options = options

    def prepare(self) -> None:
        """Draw the birds unless they exist. Raises UserError if the folder has other files."""
        from birds.data.rendering.synthetic import write_synthetic

        try:
            write_synthetic(self.root, seed=self.options.seed)
        except ValueError as error:
            raise UserError(str(error)) from None

    def scan(self) -> Scan:
        """Every image with its class and part; the two files of the drawing are not noted."""
        items, notes = Folder(Folder.Options(root=str(self.root))).scan()
        stray = tuple(name for name in notes.names("stray_files") if name not in ITS_OWN)
        found = {**notes.found, "stray_files": stray}
        return Scan(items, dataclasses.replace(notes, found=found))
