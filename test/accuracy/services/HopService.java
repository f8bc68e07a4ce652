// java HopService.java HOP blocking|async: the JDK's HttpServer with a pool of 16 threads and its java.net.http.HttpClient.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;

public class HopService {
  static final Map<String, List<String>> CALLS = Map.of("a", List.of("b", "c"), "b", List.of("d"), "c", List.of(), "d", List.of());
  static final Map<String, Integer> PORTS = Map.of("a", 8001, "b", 8002, "c", 8003, "d", 8004);
  static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  static String childId(String id, String hop) {
    if (!id.startsWith("h")) return id;
    try {
      byte[] sum = MessageDigest.getInstance("SHA-256").digest((id + "/" + hop).getBytes(StandardCharsets.UTF_8));
      return "h" + HexFormat.of().formatHex(sum).substring(0, 15);
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  static HttpRequest request(String hop, String id) {
    return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + PORTS.get(hop) + "/" + hop + "/" + childId(id, hop))).build();
  }

  static void pause() throws InterruptedException {
    Thread.sleep(ThreadLocalRandom.current().nextInt(3));
  }

  static void respond(HttpExchange exchange, int status, String body) {
    try (exchange) {
      byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
      exchange.sendResponseHeaders(status, bytes.length);
      exchange.getResponseBody().write(bytes);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  static void blocking(HttpExchange exchange) throws IOException {
    try {
      String[] path = exchange.getRequestURI().getPath().split("/");
      StringBuilder parts = new StringBuilder();
      pause();
      for (String target : CALLS.get(path[1])) {
        if (parts.length() > 0) parts.append(',');
        parts.append(CLIENT.send(request(target, path[2]), BodyHandlers.ofString()).body());
        pause();
      }
      respond(exchange, 200, path[1] + "(" + parts + ")");
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  static void async(HttpExchange exchange) {
    String[] path = exchange.getRequestURI().getPath().split("/");
    CompletableFuture<String> parts = CompletableFuture.completedFuture("");
    for (String target : CALLS.get(path[1])) {
      parts = parts.thenCompose(before -> CLIENT.sendAsync(request(target, path[2]), BodyHandlers.ofString())
          .thenApply(response -> before.isEmpty() ? response.body() : before + "," + response.body()));
    }
    parts.whenComplete((all, error) -> respond(exchange, error == null ? 200 : 500, error == null ? path[1] + "(" + all + ")" : error.toString()));
  }

  public static void main(String[] args) throws IOException {
    System.setProperty("sun.net.httpserver.nodelay", "true");
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", PORTS.get(args[0])), 128);
    server.createContext("/", args[1].equals("async") ? HopService::async : HopService::blocking);
    server.setExecutor(Executors.newFixedThreadPool(16));
    server.start();
  }
}
