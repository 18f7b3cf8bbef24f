# A small image: one static binary, no shell, no root.
#
#   docker build -t fauxlet .                                  # builds inside BUILDER
#   make image                                                 # takes bin/fauxlet, needs no base image at all
#
# BUILDER is any image with Go 1.26 or later.
# VERSION is what `fauxlet version` says. Docker's legacy builder builds every stage: use BuildKit.
ARG BUILDER=golang:1.26

FROM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=${VERSION}" -o /fauxlet ./cmd/fauxlet

FROM scratch AS binary
COPY bin/fauxlet /fauxlet
USER 65532:65532
EXPOSE 10250 10255
ENTRYPOINT ["/fauxlet"]
CMD ["help"]

FROM scratch
COPY --from=build /fauxlet /fauxlet
USER 65532:65532
EXPOSE 10250 10255
ENTRYPOINT ["/fauxlet"]
CMD ["help"]
