// A server that waits for many channels at once, and a client of blocking streams: says how many bytes came back, and their sum.

import java.io.DataInputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.zip.CRC32;

public class Echo {
    public static void main(String[] args) throws Exception {
        ServerSocketChannel listening = ServerSocketChannel.open();
        listening.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(args[0])));
        Thread server = new Thread(() -> serve(listening));
        server.setDaemon(true);
        server.start();
        CRC32 sum = new CRC32();
        long total = 0;
        for (int connection = 0; connection < 4; connection++) {
            try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), Integer.parseInt(args[0]))) {
                socket.setTcpNoDelay(true);
                DataInputStream in = new DataInputStream(socket.getInputStream());
                for (int round = 0; round < 200; round++) {
                    byte[] question = new byte[1 + (round * 7919) % 60000];
                    for (int at = 0; at < question.length; at++) {
                        question[at] = (byte) (at * 31 + round);
                    }
                    byte[] answer = new byte[question.length];
                    socket.getOutputStream().write(question);
                    in.readFully(answer);
                    sum.update(answer);
                    total += answer.length;
                }
                socket.shutdownOutput();
                if (in.read() != -1) {
                    throw new IllegalStateException("more than was sent");
                }
            }
        }
        System.out.println(total + " bytes, sum " + Long.toHexString(sum.getValue()));
    }

    private static void serve(ServerSocketChannel listening) {
        try {
            Selector selector = Selector.open();
            listening.configureBlocking(false);
            listening.register(selector, SelectionKey.OP_ACCEPT);
            while (true) {
                selector.select();
                for (SelectionKey key : selector.selectedKeys()) {
                    if (key.isAcceptable()) {
                        SocketChannel channel = listening.accept();
                        channel.configureBlocking(false);
                        channel.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(16384));
                    } else {
                        echo(key);
                    }
                }
                selector.selectedKeys().clear();
            }
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static void echo(SelectionKey key) throws Exception {
        SocketChannel channel = (SocketChannel) key.channel();
        ByteBuffer bytes = (ByteBuffer) key.attachment();
        bytes.clear();
        if (channel.read(bytes) < 0) {
            channel.close();
            return;
        }
        bytes.flip();
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }
}
