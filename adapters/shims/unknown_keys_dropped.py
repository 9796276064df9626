"""Config classes leave out the keys that they do not know, where they would reject them.

Sections of a config are made as ``Class(**section)``, which fails on a key of a newer or older release.
Only dataclasses of the family that is loaded are changed.
"""


def install():
    import dataclasses
    import sys

    from mlx_audio import utils

    get_model_class = utils.get_model_class
    changed = []

    def lenient(kind):
        original = kind.__dict__["__init__"]
        known = {field.name for field in dataclasses.fields(kind) if field.init}

        def init(self, *args, **kwargs):
            kept = {name: value for name, value in kwargs.items() if name in known}
            original(self, *args, **kept)

        kind.__init__ = init
        changed.append((kind, original))

    def get(*args, **kwargs):
        found = get_model_class(*args, **kwargs)
        package = (found[0] if isinstance(found, tuple) else found).__name__
        for name, module in list(sys.modules.items()):
            if name != package and not name.startswith(package + "."):
                continue
            for kind in list(vars(module).values()):
                if not isinstance(kind, type) or kind.__module__ != name:
                    continue
                done = kind in [known for known, _ in changed]
                own = dataclasses.is_dataclass(kind) and "__init__" in kind.__dict__
                if own and not done:
                    lenient(kind)
        return found

    utils.get_model_class = get

    def undo():
        utils.get_model_class = get_model_class
        for kind, original in changed:
            kind.__init__ = original

    return undo
