"""A codec that a family fetches while its module is imported is fetched when it is first used.

``mlx_audio/tts/models/llama/llama.py`` and ``qwen3/qwen3.py`` load SNAC at the top of the module, so the family
cannot be imported without it.
"""


def install():
    import sys

    from mlx_audio.codec.models.snac import SNAC

    original = SNAC.__dict__["from_pretrained"]
    before = set(sys.modules)

    class Deferred:
        def __init__(self, *args, **kwargs):
            self.__dict__["_asked"] = (args, kwargs)
            self.__dict__["_made"] = None

        def _codec(self):
            if self._made is None:
                args, kwargs = self._asked
                load = original.__get__(None, SNAC)
                self.__dict__["_made"] = load(*args, **kwargs).eval()
            return self._made

        def eval(self):
            return self

        def __getattr__(self, name):
            return getattr(self._codec(), name)

        def __call__(self, *args, **kwargs):
            return self._codec()(*args, **kwargs)

    SNAC.from_pretrained = staticmethod(Deferred)

    def undo():
        SNAC.from_pretrained = original
        for name in set(sys.modules) - before:
            if name.startswith("mlx_audio.tts.models."):
                del sys.modules[name]

    return undo
