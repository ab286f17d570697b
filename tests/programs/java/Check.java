// java.net.http.HttpClient as HTTP/1.1, and as HTTP/2, which it asks for by Upgrade: h2c.
//
// java Check.java echo URL      for Server.java
// java Check.java page URL HTTP_1_1|HTTP_2|ANY LENGTH    a page, and the version that the client must end up with

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Version;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;

public class Check {
    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "echo" -> {
                echo(arguments[1], Version.HTTP_1_1);
                // The server knows no HTTP/2 and ignores the upgrade.
                echo(arguments[1], Version.HTTP_2);
            }
            case "page" -> page(arguments[1], arguments[2], Integer.parseInt(arguments[3]));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.out.println("good");
        System.exit(0);
    }

    static HttpClient client(Version version) {
        return HttpClient.newBuilder().version(version).connectTimeout(Duration.ofSeconds(20)).build();
    }

    static HttpRequest.Builder request(String url) {
        return HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(30));
    }

    static void echo(String url, Version version) throws Exception {
        var client = client(version);
        var nothing = client.send(request(url + "/nothing").GET().build(), BodyHandlers.ofByteArray());
        check(nothing.statusCode() == 204, "status " + nothing.statusCode());
        for (var method : new String[] {"PUT", "POST", "PATCH"}) {
            for (var length : new int[] {1, 1000, 3_000_000}) {
                var sent = new byte[length];
                new Random(length).nextBytes(sent);
                var asked = request(url + "/echo").method(method, BodyPublishers.ofByteArray(sent)).build();
                var answer = client.send(asked, BodyHandlers.ofByteArray());
                check(answer.version() == Version.HTTP_1_1, "version " + answer.version());
                check(Arrays.equals(answer.body(), sent), method + ": " + answer.body().length + " bytes");
            }
        }
        var chunked = BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream(new byte[100_000]));
        var answer = client.send(request(url + "/echo").POST(chunked).build(), BodyHandlers.ofByteArray());
        check(answer.body().length == 100_000, "in chunks: " + answer.body().length + " bytes");
        var patient = request(url + "/echo").expectContinue(true).POST(BodyPublishers.ofString("patient")).build();
        var echoed = client.send(patient, BodyHandlers.ofString());
        check(echoed.body().equals("patient"), "Expect: 100-continue: " + echoed + " " + echoed.body());
        concurrently(client, url + "/nothing", 204);
    }

    static void page(String url, String version, int length) throws Exception {
        var client = client(Version.HTTP_2);
        for (var round = 0; round < 3; round++) {
            var answer = client.send(request(url).GET().build(), BodyHandlers.ofByteArray());
            var spoken = answer.version().toString();
            check(version.equals("ANY") || version.equals(spoken), "version " + spoken);
            check(answer.body().length == length, answer.body().length + " bytes");
        }
        concurrently(client, url, 200);
    }

    static void concurrently(HttpClient client, String url, int status) throws Exception {
        var calls = IntStream.range(0, 50)
            .mapToObj(number -> client.sendAsync(request(url).GET().build(), BodyHandlers.discarding())).toList();
        CompletableFuture.allOf(calls.toArray(CompletableFuture[]::new)).get();
        for (var call : calls) {
            check(call.get().statusCode() == status, "status " + call.get().statusCode());
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }
}
