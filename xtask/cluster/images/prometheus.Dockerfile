# Prometheus for tests, under the name that the chart weft-viz has for the real image. It has no pages of its own, and
# finds targets in Kubernetes and in files only.
FROM scratch
COPY prometheus /bin/prometheus
USER 65534:65534
ENTRYPOINT ["/bin/prometheus"]
