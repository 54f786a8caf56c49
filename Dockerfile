# docker build --build-arg REVISION="$(git rev-parse HEAD)" -t ipvsctl:0.1.0 .
#
# For nodes with nftables alone, --build-arg FIREWALL=nftables leaves out iptables and ipset.
#
# The base can be pinned harder: --build-arg BASE=docker.io/library/python@sha256:...
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY locks/build.txt locks/runtime.txt locks/
# Compiled further down, all at once.
RUN python -m venv --without-pip /opt/ipvsctl \
    && pip --python /opt/ipvsctl/bin/python install --no-cache-dir --no-compile \
        --only-binary :all: --require-hashes --requirement locks/runtime.txt
# What builds the package is by hash too, and stays in this stage.
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir \
        --only-binary :all: --require-hashes --requirement locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY ipvsctl ipvsctl
# Compiled code that is never compared with its source starts quickest, and the root file
# system is read-only. Without the right to override modes, root cannot write either.
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /opt/build . \
    && pip --python /opt/ipvsctl/bin/python install --no-cache-dir --no-compile \
        --no-index --no-deps /opt/build/ipvsctl-*.whl \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/ipvsctl/lib \
    && chmod -R a-w /opt/ipvsctl

FROM ${BASE}
# all, or nftables.
ARG FIREWALL=all
# iptables is what ipvsctl programs rules with where that is the firewall, in both flavours,
# and modprobe loads modules where it is asked to; ipset, nft and ipvsadm are for people who
# look around. The base is a Debian release, whose versions change by security fixes only.
RUN case "$FIREWALL" in all|nftables) ;; *) echo "no firewall: $FIREWALL"; exit 1 ;; esac \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
        nftables=1.0.6-* ipvsadm=1:1.31-* kmod=30+* \
    && if [ "$FIREWALL" = all ]; then \
        apt-get install -y --no-install-recommends iptables=1.8.9-* ipset=7.17-*; fi \
    && rm -rf /var/lib/apt/lists/* \
    && pip uninstall --yes --root-user-action ignore setuptools wheel pip
COPY --from=build /opt/ipvsctl /opt/ipvsctl
COPY --chmod=755 charts/image/iptables /usr/local/sbin/iptables
RUN if [ "$FIREWALL" = nftables ]; then rm /usr/local/sbin/iptables; exit; fi; \
    for name in iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; \
    do ln -s iptables "/usr/local/sbin/$name"; done
ENV PATH=/opt/ipvsctl/bin:$PATH PYTHONDONTWRITEBYTECODE=1

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="ipvsctl" \
    org.opencontainers.image.description="The Kubernetes service proxy for clusters that run on IPVS" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="docker.io/library/python:3.11.14-slim-bookworm"

# No USER: only root keeps the capabilities that the pod is given, and the host's files
# it writes are root's. The chart drops all other rights.
ENTRYPOINT ["ipvsctl"]
CMD ["run"]
