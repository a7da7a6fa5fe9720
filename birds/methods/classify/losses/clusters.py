"""Pseudo-labels: a second head predicts the cluster of each unlabelled image.

This is one step of DeepCluster (Caron et al. 2018, arXiv:1807.05520), in addition to the loss of
the labels. The clusters come from k-means on the pretraining's latent vectors, once before
training; there are as many clusters as classes.
"""

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from birds.core.randomness import stream_seed
from birds.core.spec import Choices
from birds.methods.classify.heads import create_head
from birds.methods.classify.losses.joint import refuse_without_pretraining
from birds.methods.vectors import kmeans_clusters, unlabelled_vectors


class Clusters(nn.Module):
    """A second head, and the cluster of every unlabelled image by its row; -1 for others."""

    learns = True

    class Options(Choices):
        """weight: of this loss, relative to the loss of the labels."""

        weight: Annotated[float, Field(ge=0)] = 1.0

    def __init__(self, options: Any, classifier: Any, job: Any) -> None:
        super().__init__()
        self.weight = options.weight
        rows = job.data.rows["unlabelled"]
        vectors = unlabelled_vectors(job.given[0].latent, job.data)
        classes = len(job.data.images.classes)
        found = kmeans_clusters(vectors, classes, job.spec.seed)
        cluster = torch.full((len(job.data.label),), -1)
        cluster[rows] = torch.from_numpy(found)
        torch.manual_seed(stream_seed(job.spec.seed, "clusters"))
        part = classifier.choices.head
        self.head = create_head(part, classifier.encoder.feature_dim, int(cluster.max()) + 1)
        self.cluster: Tensor
        self.register_buffer("cluster", cluster, persistent=False)

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Refuse a classifier that starts without a pretraining."""
        refuse_without_pretraining("clusters", classifier, spec)

    def loss(self, classifier: Any, data: Any) -> Tensor:
        """The cross entropy of the clusters of a batch of unlabelled images."""
        batch = data.unlabelled(classifier.global_step, classifier.device)
        logits = self.head(classifier.features(batch["image"])).float()
        return F.cross_entropy(logits, self.cluster[batch["row"]])
