# A small image: one static binary, no shell, no root.
#
#   docker build -t fauxlet .                                  # builds inside BUILDER
#   make image                                                 # needs no base image and no container engine
#
# BUILDER is any image with Go 1.26 or later.
# VERSION is what `fauxlet version` says. Docker's legacy builder builds every stage: use BuildKit.
ARG BUILDER=golang:1.26

FROM scratch AS base
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fauxlet" \
      org.opencontainers.image.description="Stand-in kubelet: authenticates and authorizes requests as a kubelet does" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
EXPOSE 10250 10255
ENTRYPOINT ["/fauxlet"]
CMD ["help"]

FROM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=${VERSION}" -o /fauxlet ./cmd/fauxlet
RUN mkdir -p /folders/certs /folders/tmp && chmod 0700 /folders/certs && chmod 1777 /folders/tmp
RUN mkdir /licenses && cp LICENSE /licenses/ && go run ./packaging/notices >/licenses/THIRD_PARTY_LICENSES.txt

# The stage of make image. packaging/image.sh makes its context.
FROM base AS binary
ARG TARGETARCH
COPY licenses/ /licenses/
COPY --chown=65532:65532 folders/ /
COPY --chmod=0755 ${TARGETARCH}/fauxlet /fauxlet

FROM base
COPY --from=build /licenses/ /licenses/
COPY --from=build --chown=65532:65532 /folders/ /
COPY --from=build /fauxlet /fauxlet
# The OCI image of make image has no health check, because its format has none.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/fauxlet", "ready"]
