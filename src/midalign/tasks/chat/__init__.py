"""Any chat: rows in TRL's formats, with several turns, system prompts and tools.

`Chat` is here for whoever scores answers by a function of their own: a subclass in a file, named as `task` in a recipe.
"""

from midalign.tasks.chat.task import Chat

__all__ = ["Chat"]
