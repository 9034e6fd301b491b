// The names that Kafka makes of certificates' subjects. Arguments in pairs: rules, and a subject (DER, in hex). A line
// for each: the subject as text and then "=" and the name, or "!" and what is wrong.

import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;
import org.apache.kafka.common.security.ssl.SslPrincipalMapper;

public class PrincipalNames {
    public static void main(String[] args) {
        for (int i = 0; i < args.length; i += 2) {
            String subject = new X500Principal(HexFormat.of().parseHex(args[i + 1])).getName();
            String name;
            try {
                name = "=" + SslPrincipalMapper.fromRules(args[i]).getName(subject);
            } catch (Exception e) {
                name = "!" + e.getClass().getSimpleName();
            }
            System.out.println(subject + "\t" + name);
        }
    }
}
