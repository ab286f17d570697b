# Clients and servers for tests: busybox (sh, httpd, nslookup, …), curl, socat, nc.
FROM scratch
COPY . /
RUN ["/usr/bin/busybox", "--install", "-s", "/bin"]
CMD ["sh"]
