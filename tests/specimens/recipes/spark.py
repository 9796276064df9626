"""Spark: a Qwen2 language model; BiCodec and wav2vec 2.0 in directories of their own, loaded after it."""

import json
from pathlib import Path
from typing import Any

from tests.specimens.codecs import parameters_of
from tests.specimens.layouts import apply, conv, renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer

# The published sizes: the codec tells PyTorch's layout from its own by which axis is longer.
_VOCOS = {"vocos_dim": 384, "vocos_intermediate_dim": 2048, "vocos_num_layers": 12, "sample_ratios": [1, 1]}
_BICODEC = {
    "mel_params": {
        "sample_rate": 16000,
        "n_fft": 1024,
        "win_length": 640,
        "hop_length": 320,
        "mel_fmin": 10,
        "mel_fmax": None,
        "num_mels": 128,
    },
    "encoder": {**_VOCOS, "input_channels": 1024, "out_channels": 1024},
    "decoder": {"input_channel": 1024, "channels": 1536, "rates": [8, 5, 4, 2], "kernel_sizes": [16, 11, 8, 4]},
    "quantizer": {
        "input_dim": 1024,
        "codebook_size": 8192,
        "codebook_dim": 8,
        "commitment": 0.25,
        "codebook_loss_weight": 2.0,
        "use_l2_normlize": True,
        "threshold_ema_dead_code": 0.2,
    },
    "speaker_encoder": {
        "input_dim": 128,
        "out_dim": 1024,
        "latent_dim": 128,
        "token_num": 32,
        "fsq_levels": [4, 4, 4, 4, 4, 4],
        "fsq_num_quantizers": 1,
    },
    "prenet": {
        **_VOCOS,
        "input_channels": 1024,
        "out_channels": 1024,
        "condition_dim": 1024,
        "use_tanh_at_final": False,
    },
    "postnet": {
        "input_channels": 1024,
        "vocos_dim": 384,
        "vocos_intermediate_dim": 2048,
        "vocos_num_layers": 6,
        "out_channels": 1024,
        "use_tanh_at_final": False,
    },
}
_TOKENIZER_CONFIG = {
    "sample_rate": 16000,
    "volume_normalize": True,
    "ref_segment_duration": 6,
    "latent_hop_length": 320,
}
_WAV2VEC = {
    "model_type": "wav2vec2",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "conv_dim": [32, 32],
    "conv_kernel": [10, 3],
    "conv_stride": [5, 2],
    "num_feat_extract_layers": 2,
    "conv_bias": True,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory)
    codec, features = directory / "BiCodec", directory / "wav2vec2-large-xlsr-53"
    codec.mkdir(exist_ok=True)
    features.mkdir(exist_ok=True)
    # JSON is YAML.
    (directory / "audio_tokenizer_config.yaml").write_text(json.dumps(_TOKENIZER_CONFIG), encoding="utf-8")
    (codec / "config.yaml").write_text(json.dumps({"audio_tokenizer": _BICODEC}), encoding="utf-8")
    (features / "config.json").write_text(json.dumps(_WAV2VEC), encoding="utf-8")
    (features / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": True, "feature_size": 1, "sampling_rate": 16000, "padding_value": 0}),
        encoding="utf-8",
    )


def _parts(directory: Path, config: Config) -> Files:
    from mlx_audio.stt.models.wav2vec.wav2vec import ModelConfig, Wav2Vec2Model
    from mlx_audio.tts.models.spark.bicodec import BiCodec
    from mlx_audio.tts.models.spark.modules.encoder_decoder.feat_decoder import Decoder
    from mlx_audio.tts.models.spark.modules.encoder_decoder.feat_encoder import Encoder
    from mlx_audio.tts.models.spark.modules.encoder_decoder.wave_generator import WaveGenerator
    from mlx_audio.tts.models.spark.modules.residual import FactorizedVectorQuantize
    from mlx_audio.tts.models.spark.modules.speaker.speaker_encoder import SpeakerEncoder

    given: dict[str, Any] = _BICODEC
    codec = BiCodec(
        mel_params=given["mel_params"],
        encoder=Encoder(**given["encoder"]),
        decoder=WaveGenerator(**given["decoder"]),
        quantizer=FactorizedVectorQuantize(**given["quantizer"]),
        speaker_encoder=SpeakerEncoder(**given["speaker_encoder"]),
        prenet=Decoder(**given["prenet"]),
        postnet=Decoder(**given["postnet"]),
    )
    features = Wav2Vec2Model(ModelConfig.from_dict(_WAV2VEC))
    wav2vec = apply(parameters_of(features), [conv(r"\.conv\.weight(_[gv])?$")])
    names = [(r"\.conv\.weight_g$", ".conv.parametrizations.weight.original0")]
    names += [(r"\.conv\.weight_v$", ".conv.parametrizations.weight.original1"), (r"^", "wav2vec2.")]
    return {
        "BiCodec/model.safetensors": parameters_of(codec),
        "wav2vec2-large-xlsr-53/model.safetensors": renamed(wav2vec, names),
    }


def _layout(parameters: Tensors, config: Config) -> Files:
    return {MAIN_FILE: parameters}


RECIPE = Recipe(
    name="Spark-TTS-0.5B-bf16",
    small={
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 64,
    },
    module=lambda model: model.model,
    side_files=_side_files,
    parts=_parts,
    needs=("soxr",),
)
