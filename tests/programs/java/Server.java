// The server of the JDK. java Server.java PORT

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Server {
    public static void main(String[] arguments) throws Exception {
        var server = HttpServer.create(new InetSocketAddress(Integer.parseInt(arguments[0])), 100);
        server.setExecutor(Executors.newCachedThreadPool());
        // Sends the body back: with its length for PUT, in chunks for others.
        server.createContext("/echo", exchange -> {
            var body = exchange.getRequestBody().readAllBytes();
            var length = exchange.getRequestMethod().equals("PUT") ? body.length : 0;
            exchange.sendResponseHeaders(200, length);
            try (var out = exchange.getResponseBody()) {
                out.write(body);
            }
        });
        server.createContext("/nothing", exchange -> {
            exchange.sendResponseHeaders(204, -1);
            exchange.close();
        });
        server.start();
    }
}
