"""ZONOS 2: names and layout of the model; tokenizer-free, codec and speaker encoder are fetched when it speaks."""

from tests.specimens.recipe import Recipe

RECIPE = Recipe(
    name="Zyphra-ZONOS2",
    small={
        "n_layers": 5,
        "dim": 64,
        "head_dim": 32,
        "n_kv_heads": 1,
        "multiple_of": 32,
        "n_codebooks": 4,
        "codebook_size": 32,
        "eoa_id": 32,
        "audio_pad_id": 33,
        "speaker_embedding_dim": 64,
        "speaker_lda_dim": 32,
        "moe_n_experts": 2,
        "moe_router_dim": 16,
        "special_topk_layers": {"3": 2},
    },
)
