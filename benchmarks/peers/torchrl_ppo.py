"""PPO on TorchRL's own parts, put together as its example for Atari does (`sota-implementations/ppo`), without its compilation.

    python -m benchmarks.peers.torchrl_ppo --threads 1

The example's env runs one process for each simulator. That is kept where there are as many cores; elsewhere the simulators are stepped one
after another (`SerialEnv`), which is faster there.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.data.replay_buffers.samplers import SamplerWithoutReplacement
from torchrl.envs import (
    CatFrames,
    DoubleToFloat,
    EnvBase,
    ExplorationType,
    GymWrapper,
    ParallelEnv,
    RenameTransform,
    RewardSum,
    SerialEnv,
    StepCounter,
    ToTensorImage,
    TransformedEnv,
)
from torchrl.modules import MLP, ActorValueOperator, ConvNet, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value.advantages import GAE

from benchmarks.peers.frames import Frames
from benchmarks.peers.settings import Clock, Settings, answer


def make_base_env(height: int, width: int, drawing: str) -> GymWrapper:
    """One simulator, one grey frame a step: uint8 [1, height, width]."""
    return GymWrapper(Frames(height, width, drawing, frames=1), device="cpu", categorical_action_encoding=True)


def make_env(settings: Settings) -> EnvBase:
    """The simulators, with the example's transforms from the frame on."""
    side_by_side = ParallelEnv if (os.cpu_count() or 1) >= settings.envs else SerialEnv
    env = TransformedEnv(side_by_side(settings.envs, partial(make_base_env, settings.height, settings.width, settings.drawing)))
    env.append_transform(RenameTransform(in_keys=["observation"], out_keys=["pixels_int"]))
    env.append_transform(ToTensorImage(in_keys=["pixels_int"], out_keys=["pixels"], shape_tolerant=True))
    env.append_transform(CatFrames(N=3, dim=-3, in_keys=["pixels"]))
    env.append_transform(RewardSum())
    env.append_transform(StepCounter())
    env.append_transform(DoubleToFloat())
    return env


def make_actor_critic(env: EnvBase) -> ActorValueOperator:
    """The example's network: Nature's convolutions, 512 units, two heads."""
    pixels = torch.ones(env.observation_spec["pixels"].shape)
    cnn = ConvNet(activation_class=nn.ReLU, num_cells=[32, 64, 64], kernel_sizes=[8, 4, 3], strides=[4, 2, 1])
    width = cnn(pixels).shape[-1]
    mlp = MLP(in_features=width, activation_class=nn.ReLU, activate_last_layer=True, out_features=512, num_cells=[])
    common = TensorDictModule(nn.Sequential(cnn, mlp), in_keys=["pixels"], out_keys=["common_features"])
    logits = MLP(in_features=512, out_features=env.action_spec_unbatched.space.n, activation_class=nn.ReLU, num_cells=[])
    policy = ProbabilisticActor(
        TensorDictModule(logits, in_keys=["common_features"], out_keys=["logits"]),
        in_keys=["logits"],
        spec=env.full_action_spec_unbatched,
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
        default_interaction_type=ExplorationType.RANDOM,
    )
    value = ValueOperator(MLP(in_features=512, out_features=1, activation_class=nn.ReLU, num_cells=[]), in_keys=["common_features"])
    return ActorValueOperator(common_operator=common, policy_operator=policy, value_operator=value)


def train(settings: Settings) -> dict[str, Any]:
    """The example's main loop."""
    torch.set_num_threads(settings.threads)
    env, clock = make_env(settings), Clock(settings)
    actor_critic = make_actor_critic(env)
    with torch.no_grad():
        actor_critic(env.fake_tensordict())
    actor, critic = actor_critic.get_policy_operator(), actor_critic.get_value_operator()
    collector = Collector(create_env_fn=env, policy=actor, frames_per_batch=settings.batch, total_frames=-1, device="cpu")
    data_buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(settings.batch), sampler=SamplerWithoutReplacement(), batch_size=settings.minibatch
    )
    adv_module = GAE(gamma=0.99, lmbda=0.95, value_network=critic, average_gae=False)
    loss_module = ClipPPOLoss(
        actor_network=actor,
        critic_network=critic,
        clip_epsilon=0.1,
        loss_critic_type="l2",
        entropy_coeff=0.01,
        critic_coeff=1.0,
        normalize_advantage=True,
    )
    optim = torch.optim.Adam(loss_module.parameters(), lr=2.5e-4, eps=1e-6)
    for data in collector:
        for _ in range(settings.epochs):
            with torch.no_grad():
                data = adv_module(data)
            data_buffer.extend(data.reshape(-1))
            for batch in data_buffer:
                optim.zero_grad(set_to_none=True)
                loss = loss_module(batch)
                (loss["loss_critic"] + loss["loss_objective"] + loss["loss_entropy"]).backward()
                torch.nn.utils.clip_grad_norm_(loss_module.parameters(), max_norm=0.5)
                optim.step()
        collector.update_policy_weights_()
        if clock.batch_is_done():
            break
    collector.shutdown()
    return clock.figures()


if __name__ == "__main__":
    answer(train, __doc__)
