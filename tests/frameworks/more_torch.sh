#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's PyTorch, as it is, on the card: products, batches, and a network that learns.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
need /usr/lib/python3/dist-packages/torch python3-torch
export ACCEL_BLAS_MIN=64
on_card 40 $PYTHON - <<'END' || die "PyTorch failed"
import torch

torch.manual_seed(1)


def near(result, exact):
    off = ((result.double() - exact).abs().max() / exact.abs().max()).item()
    assert off < 1e-5, off


a, b = torch.randn(500, 300), torch.randn(300, 400)
near(a @ b, a.double() @ b.double())
near(a.t().contiguous().t() @ b, a.double() @ b.double())
near(torch.addmm(torch.ones(500, 400), a, b, beta=2, alpha=0.5), 2 + 0.5 * (a.double() @ b.double()))
x, y = torch.randn(6, 120, 130), torch.randn(6, 130, 140)
near(torch.bmm(x, y), torch.bmm(x.double(), y.double()))
print("ok products")

net = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 128))
data, goal = torch.randn(512, 256), torch.randn(512, 128)
step = torch.optim.SGD(net.parameters(), lr=0.1)
losses = []
for _ in range(10):
    step.zero_grad()
    loss = torch.nn.functional.mse_loss(net(data), goal)
    loss.backward()
    step.step()
    losses.append(loss.item())
assert losses[-1] < losses[0], losses
print("ok a network learns:", losses[0], "->", losses[-1])
END
