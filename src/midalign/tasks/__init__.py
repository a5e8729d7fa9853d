"""What is learned, and what answers are worth."""

# Keys of a recipe that some tasks read and others refuse; not set when None.
OPTIONS = ("task_slots", "task_loss_on", "task_language_column")


def tasks_of(data):
    """The tasks that a recipe names, in the order of `data.each()`; an option is for those that read it.

    data: DataConfig.   Raises InputError, also for an option that none of them reads.
    """
    each, given = data.each(), {key: vars(data)[key] for key in OPTIONS if vars(data)[key] is not None}
    kinds = [_kind_of(own.task) for own in each]
    unread = given.keys() - {key for kind in kinds for key in kind.options}
    return [
        _made(
            kind, own.task, own.task_instruction, {key: given[key] for key in given if key in {*kind.options, *unread}}
        )
        for kind, own in zip(kinds, each, strict=True)
    ]


def find_task(name, instruction=None, options=None):
    """A task by its name in a recipe, or by the path of a file that holds one; `tasks.base.Task`.

    instruction: in place of the task's own.   options: {key of OPTIONS: its value, None = not set}.
    Raises InputError, also for an option that the task does not read.
    """
    given = {key: value for key, value in (options or {}).items() if value is not None}
    return _made(_kind_of(name), name, instruction, given)


def recalled(name, instruction, options):
    """A task as the record of a run has it, as `find_task`.   options: those of all tasks of the run."""
    kind = _kind_of(name)
    return _made(kind, name, instruction, {key: options[key] for key in kind.options if key in options})


def _made(kind, name, instruction, options):
    # Imported here, as below, so that who needs one task pays for no other.
    from midalign.errors import InputError
    from midalign.texts import shown

    for key in options:
        if key not in kind.options:
            raise InputError(f"{key} is set, but task {shown(name)} does not read it; delete {key}.")
    return kind(name, instruction, **options)


def _kind_of(name):
    from midalign.errors import InputError
    from midalign.texts import shown

    if name == "slots":
        from midalign.tasks.slots.task import Slots as kind
    elif name == "entities":
        from midalign.tasks.entities.task import Entities as kind
    elif name == "intents":
        from midalign.tasks.intents import Intents as kind
    elif name == "chat":
        from midalign.tasks.chat.task import Chat as kind
    elif name == "translation":
        from midalign.tasks.translation.task import Translation as kind
    elif name.endswith(".py"):
        from midalign.tasks.own import read_task

        kind = read_task(name)
    else:
        raise InputError(
            f"task {shown(name)} is none; use slots, intents, translation, entities, chat, or the path of a file that "
            "holds one, ending in .py."
        )
    return kind
