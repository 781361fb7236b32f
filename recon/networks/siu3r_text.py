"""SIU3R's branch that is asked by words: which query does a word mean?

Words come as features of a text encoder, which is no part of the network. No weights of this branch are published.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from recon.networks.siu3r_configuration import Mask2former
from recon.networks.siu3r_segmentation import Segmentation

ROUNDS = 6


class TextSegmentation(Segmentation):
    """A segmentation that also tells which query a word means."""

    def __init__(self, width: int, settings: Mask2former, labels: int) -> None:
        super().__init__(width, settings, labels)
        channels, heads = settings.hidden_dim, settings.num_attention_heads
        self.lang_cross_attns = nn.ModuleList(
            nn.MultiheadAttention(channels, heads, batch_first=True) for _ in range(ROUNDS)
        )
        self.lang_attn_norms, self.lang_attn_norms_final = (
            nn.ModuleList(nn.LayerNorm(channels) for _ in range(ROUNDS)) for _ in range(2)
        )
        self.lang_fc1s, self.lang_fc2s = (
            nn.ModuleList(nn.Linear(channels, channels) for _ in range(ROUNDS)) for _ in range(2)
        )

    def words(self, features: Tensor, hidden: Tensor) -> Tensor:
        """How well each query fits each word, ``[B,n,Q]``; the largest of a word is the one it means.

        Args:
            features: ``[B,n,C]`` of the words.
            hidden: ``[B,Q,C]``, what the queries have become, not normed (`Queries.hidden`).
        """
        rounds = zip(
            self.lang_cross_attns,
            self.lang_attn_norms,
            self.lang_fc1s,
            self.lang_fc2s,
            self.lang_attn_norms_final,
            strict=True,
        )
        for attention, norm, fc1, fc2, last in rounds:
            features = norm(features + attention(features, hidden, hidden, need_weights=False)[0])
            features = last(features + fc2(functional.relu(fc1(features))))
        return features @ hidden.transpose(1, 2)
