"""Files of other verbs that the page shows too."""

from pathlib import Path

from midalign.errors import InputError
from midalign.files import parsed, whole
from midalign.texts import place_of, squeeze

MOST = 1 << 28  # bytes of a file


VERBS = {"--scores": "evaluate", "--layers": "layers"}


def read(option, places, name, shows):
    """What the file `name` of `midalign evaluate`, say, holds, of each place: such a file, or the folder with it.

    shows: of what a file holds makes all that the page has of it; a file with which it fails is another's.
    Raises InputError, which names the option.
    """
    found = []
    for place in map(Path, places):
        path = place / name if place.is_dir() else place
        try:
            found.append(parsed(whole(path, MOST).decode("utf-8")))
            shows(found[-1])
        except InputError as error:
            raise InputError(f"{option} {squeeze(str(error))}") from error
        except Exception as error:  # what stands in a file of others decides which
            raise InputError(
                f"{option} {place_of(path)} is not what `midalign {VERBS[option]}` writes; name its {name} or folder."
            ) from error
    return found
