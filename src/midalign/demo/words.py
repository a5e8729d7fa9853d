"""The words of the demo corpus: slot values in six languages, written for it.

A record is one value in the order of `corpus.DEMO_LOCALES`, separated by "|"; records end with ";". Forms of a
value (cases, with or without an article) are separated by "/"; a phrase asks for the second form with
{person.1}, and a value with fewer forms gives its last. Words in front in parentheses belong to the sentence,
not to the slot: "(on) friday" is written "on [date : friday]".
"""

VALUES = {
    "time": """
(at) five|(um) fünf uhr|(a las) cinco|(saat) beşte|(в) пять часов|(στις) πέντε;
(at) six|(um) sechs uhr|(a las) seis|(saat) altıda|(в) шесть часов|(στις) έξι;
(at) seven|(um) sieben uhr|(a las) siete|(saat) yedide|(в) семь часов|(στις) επτά;
(at) eight|(um) acht uhr|(a las) ocho|(saat) sekizde|(в) восемь часов|(στις) οκτώ;
(at) nine|(um) neun uhr|(a las) nueve|(saat) dokuzda|(в) девять часов|(στις) εννέα;
(at) ten|(um) zehn uhr|(a las) diez|(saat) onda|(в) десять часов|(στις) δέκα;
(at) eleven|(um) elf uhr|(a las) once|(saat) on birde|(в) одиннадцать часов|(στις) έντεκα;
(at) five in the morning|(um) fünf uhr morgens|(a las) cinco de la mañana|sabah beşte|(в) пять утра|
(στις) πέντε το πρωί;
(at) six in the morning|(um) sechs uhr morgens|(a las) seis de la mañana|sabah altıda|(в) шесть утра|
(στις) έξι το πρωί;
(at) seven in the morning|(um) sieben uhr morgens|(a las) siete de la mañana|sabah yedide|(в) семь утра|
(στις) επτά το πρωί;
(at) nine in the morning|(um) neun uhr morgens|(a las) nueve de la mañana|sabah dokuzda|(в) девять утра|
(στις) εννέα το πρωί;
(at) eight in the evening|(um) acht uhr abends|(a las) ocho de la noche|akşam sekizde|(в) восемь вечера|
(στις) οκτώ το βράδυ;
(at) nine in the evening|(um) neun uhr abends|(a las) nueve de la noche|akşam dokuzda|(в) девять вечера|
(στις) εννέα το βράδυ;
(at) ten in the evening|(um) zehn uhr abends|(a las) diez de la noche|akşam onda|(в) десять вечера|
(στις) δέκα το βράδυ;
(at) noon|(um) zwölf uhr mittags|(a) mediodía|öğlen|(в) полдень|(το) μεσημέρι;
(at) midnight|(um) mitternacht|(a) medianoche|gece yarısı|(в) полночь|(τα) μεσάνυχτα;""",
    "date": """
today|heute|hoy|bugün|сегодня|σήμερα; tomorrow|morgen|mañana|yarın|завтра|αύριο;
the day after tomorrow|übermorgen|pasado mañana|öbür gün|послезавтра|μεθαύριο;
(on) monday|(am) montag|(el) lunes|pazartesi günü|(в) понедельник|(τη) δευτέρα;
(on) tuesday|(am) dienstag|(el) martes|salı günü|(во) вторник|(την) τρίτη;
(on) wednesday|(am) mittwoch|(el) miércoles|çarşamba günü|(в) среду|(την) τετάρτη;
(on) thursday|(am) donnerstag|(el) jueves|perşembe günü|(в) четверг|(την) πέμπτη;
(on) friday|(am) freitag|(el) viernes|cuma günü|(в) пятницу|(την) παρασκευή;
(on) saturday|(am) samstag|(el) sábado|cumartesi günü|(в) субботу|(το) σάββατο;
(on) sunday|(am) sonntag|(el) domingo|pazar günü|(в) воскресенье|(την) κυριακή;
next week|nächste woche|(la) próxima semana|gelecek hafta|(на) следующей неделе|(την) επόμενη εβδομάδα;
this weekend|dieses wochenende|este fin de semana|bu hafta sonu|(в) эти выходные|αυτό το σαββατοκύριακο;""",
    # forms: whom to call, whom to write to, whom to be with
    "person": """
anna|anna|(a) ana/(a) ana/ana|annayı/annaya/annayla|анне/анне/анной|(την) άννα/(στην) άννα/(την) άννα;
maria|maria|(a) maría/(a) maría/maría|mariayı/mariaya/mariayla|марии/марии/марией|
(τη) μαρία/(στη) μαρία/(τη) μαρία;
peter|peter|(a) pedro/(a) pedro/pedro|peteri/petere/peterle|петру/петру/петром|
(τον) πέτρο/(στον) πέτρο/(τον) πέτρο;
paul|paul|(a) pablo/(a) pablo/pablo|paulu/paula/paulla|павлу/павлу/павлом|
(τον) παύλο/(στον) παύλο/(τον) παύλο;
sofia|sofia|(a) sofía/(a) sofía/sofía|sofiayı/sofiaya/sofiayla|софии/софии/софией|
(τη) σοφία/(στη) σοφία/(τη) σοφία;
my mother|meine mutter/meiner mutter|(a) mi madre/(a) mi madre/mi madre|annemi/anneme/annemle|
маме/маме/мамой|(τη) μητέρα μου/(στη) μητέρα μου/(τη) μητέρα μου;
my father|meinen vater/meinem vater|(a) mi padre/(a) mi padre/mi padre|babamı/babama/babamla|
отцу/отцу/отцом|(τον) πατέρα μου/(στον) πατέρα μου/(τον) πατέρα μου;
my brother|meinen bruder/meinem bruder|(a) mi hermano/(a) mi hermano/mi hermano|
erkek kardeşimi/erkek kardeşime/erkek kardeşimle|брату/брату/братом|
(τον) αδερφό μου/(στον) αδερφό μου/(τον) αδερφό μου;
my sister|meine schwester/meiner schwester|(a) mi hermana/(a) mi hermana/mi hermana|ablamı/ablama/ablamla|
сестре/сестре/сестрой|(την) αδερφή μου/(στην) αδερφή μου/(την) αδερφή μου;
my boss|meinen chef/meinem chef|(a) mi jefe/(a) mi jefe/mi jefe|patronumu/patronuma/patronumla|
начальнику/начальнику/начальником|(το) αφεντικό μου/(στο) αφεντικό μου/(το) αφεντικό μου;
my doctor|meinen arzt/meinem arzt|(a) mi médico/(a) mi médico/mi médico|doktorumu/doktoruma/doktorumla|
врачу/врачу/врачом|(τον) γιατρό μου/(στον) γιατρό μου/(τον) γιατρό μου;
my teacher|meinen lehrer/meinem lehrer|(a) mi profesor/(a) mi profesor/mi profesor|
öğretmenimi/öğretmenime/öğretmenimle|учителю/учителю/учителем|
(τον) δάσκαλό μου/(στον) δάσκαλό μου/(τον) δάσκαλό μου;""",
    # forms: in the place, to the place
    "place_name": """
berlin|berlin|berlín|berlinde/berline|берлине/берлин|(στο) βερολίνο/(για το) βερολίνο;
london|london|londres|londrada/londraya|лондоне/лондон|(στο) λονδίνο/(για το) λονδίνο;
paris|paris|parís|pariste/parise|париже/париж|(στο) παρίσι/(για το) παρίσι;
rome|rom|roma|romada/romaya|риме/рим|(στη) ρώμη/(για τη) ρώμη;
athens|athen|atenas|atinada/atinaya|афинах/афины|(στην) αθήνα/(για την) αθήνα;
moscow|moskau|moscú|moskovada/moskovaya|москве/москву|(στη) μόσχα/(για τη) μόσχα;
madrid|madrid|madrid|madridde/madride|мадриде/мадрид|(στη) μαδρίτη/(για τη) μαδρίτη;
vienna|wien|viena|viyanada/viyanaya|вене/вену|(στη) βιέννη/(για τη) βιέννη;
istanbul|istanbul|estambul|istanbulda/istanbula|стамбуле/стамбул|
(στην) κωνσταντινούπολη/(για την) κωνσταντινούπολη;
new york|new york|nueva york|new yorkta/new yorka|нью йорке/нью йорк|(στη) νέα υόρκη/(για τη) νέα υόρκη;""",
    # forms: the food, of the food
    "food_type": """
pizza|pizza|pizza|pizza|пиццу/пиццы|πίτσα; fish|fisch|pescado|balık|рыбу/рыбы|ψάρι;
tomato soup|tomatensuppe|sopa de tomate|domates çorbası|томатный суп/томатного супа|ντοματόσουπα;
vegetable soup|gemüsesuppe|sopa de verduras|sebze çorbası|овощной суп/овощного супа|σούπα λαχανικών;
rice|reis|arroz|pilav|рис/риса|ρύζι; chicken|hähnchen|pollo|tavuk|курицу/курицы|κοτόπουλο;
bread|brot|pan|ekmek|хлеб/хлеба|ψωμί; cheese|käse|queso|peynir|сыр/сыра|τυρί;
green salad|grünen salat|ensalada verde|yeşil salata|зелёный салат/зелёного салата|πράσινη σαλάτα;
apple pie|apfelkuchen|tarta de manzana|elmalı turta|яблочный пирог/яблочного пирога|μηλόπιτα;
pancakes|pfannkuchen|tortitas|krep|блины/блинов|τηγανίτες;""",
    "device_type": """
(the) light|(das) licht|(la) luz|ışığı|свет|(το) φως; (the) lamp|(die) lampe|(la) lámpara|lambayı|лампу|
(τη) λάμπα;
(the) heating|(die) heizung|(la) calefacción|kaloriferi|отопление|(τη) θέρμανση;
(the) fan|(den) ventilator|(el) ventilador|vantilatörü|вентилятор|(τον) ανεμιστήρα;
(the) television|(den) fernseher|(el) televisor|televizyonu|телевизор|(την) τηλεόραση;
(the) coffee machine|(die) kaffeemaschine|(la) cafetera|kahve makinesini|кофеварку|(την) καφετιέρα;
(the) washing machine|(die) waschmaschine|(la) lavadora|çamaşır makinesini|стиральную машину|(το) πλυντήριο;
(the) radio|(das) radio|(la) radio|radyoyu|радио|(το) ραδιόφωνο; (the) oven|(den) ofen|(el) horno|fırını|
духовку|
(τον) φούρνο; (the) vacuum cleaner|(den) staubsauger|(la) aspiradora|elektrikli süpürgeyi|пылесос|
(την) ηλεκτρική σκούπα;""",
    # forms: "that is in the kitchen" (Turkish), in the kitchen
    "house_place": """
(in the) kitchen|(in der) küche|(en la) cocina|mutfaktaki/mutfakta|(на) кухне|(στην) κουζίνα;
(in the) bedroom|(im) schlafzimmer|(en el) dormitorio|yatak odasındaki/yatak odasında|(в) спальне|
(στην) κρεβατοκάμαρα;
(in the) living room|(im) wohnzimmer|(en el) salón|oturma odasındaki/oturma odasında|(в) гостиной|
(στο) σαλόνι;
(in the) bathroom|(im) bad|(en el) baño|banyodaki/banyoda|(в) ванной|(στο) μπάνιο;
(in the) office|(im) büro|(en la) oficina|ofisteki/ofiste|(в) кабинете|(στο) γραφείο;
(in the) hall|(im) flur|(en el) pasillo|koridordaki/koridorda|(в) коридоре|(στον) διάδρομο;
(in the) garage|(in der) garage|(en el) garaje|garajdaki/garajda|(в) гараже|(στο) γκαράζ;
(in the) garden|(im) garten|(en el) jardín|bahçedeki/bahçede|(в) саду|(στον) κήπο;""",
    "song_name": """
blue river|blauer fluss|río azul|mavi nehir|синяя река|γαλάζιο ποτάμι;
golden night|goldene nacht|noche dorada|altın gece|золотая ночь|χρυσή νύχτα;
silent sea|stilles meer|mar callado|sessiz deniz|тихое море|ήσυχη θάλασσα;
long road|langer weg|camino largo|uzun yol|длинная дорога|μακρύς δρόμος;
little star|kleiner stern|pequeña estrella|küçük yıldız|маленькая звезда|μικρό αστέρι;
rain in may|regen im mai|lluvia de mayo|mayıs yağmuru|майский дождь|βροχή του μάη;
last train|letzter zug|último tren|son tren|последний поезд|τελευταίο τρένο;
warm wind|warmer wind|viento cálido|ılık rüzgar|тёплый ветер|ζεστός άνεμος;
white horse|weißes pferd|caballo blanco|beyaz at|белая лошадь|λευκό άλογο;
red door|rote tür|puerta roja|kırmızı kapı|красная дверь|κόκκινη πόρτα;""",
    "weather_descriptor": """
sunny|sonnig|soleado|güneşli|солнечно|ηλιόλουστος; cold|kalt|frío|soğuk|холодно|κρύος;
warm|warm|caluroso|sıcak|тепло|ζεστός; windy|windig|ventoso|rüzgarlı|ветрено|με αέρα;
cloudy|bewölkt|nublado|bulutlu|облачно|συννεφιασμένος; foggy|neblig|brumoso|sisli|туманно|ομιχλώδης;
rainy|regnerisch|lluvioso|yağmurlu|дождливо|βροχερός;""",
    # forms: on to the list (Turkish), the list
    "list_name": """
shopping list|einkaufsliste|lista de la compra|alışveriş listeme/alışveriş listemi|список покупок|
λίστα αγορών;
gift list|geschenkliste|lista de regalos|hediye listeme/hediye listemi|список подарков|λίστα δώρων;
party list|partyliste|lista de la fiesta|parti listeme/parti listemi|список для вечеринки|λίστα του πάρτι;
travel list|reiseliste|lista del viaje|yolculuk listeme/yolculuk listemi|список для поездки|
λίστα του ταξιδιού;
kitchen list|küchenliste|lista de la cocina|mutfak listeme/mutfak listemi|список для кухни|λίστα της κουζίνας;
holiday list|urlaubsliste|lista de vacaciones|tatil listeme/tatil listemi|список для отпуска|
λίστα διακοπών;""",
    # forms: object, subject
    "event_name": """
(the) meeting|(das) treffen|(la) reunión|toplantıyı/toplantı|встречу/встреча|(τη) συνάντηση/(η) συνάντηση;
(the) birthday party|(die) geburtstagsfeier|(la) fiesta de cumpleaños|doğum günü partisini/doğum günü partisi|
день рождения|(το) πάρτι γενεθλίων;
(the) concert|(das) konzert|(el) concierto|konseri/konser|концерт|(τη) συναυλία/(η) συναυλία;
(the) dinner|(das) abendessen|(la) cena|akşam yemeğini/akşam yemeği|ужин|(το) δείπνο;
(the) english lesson|(den) englischkurs/(der) englischkurs|(la) clase de inglés|
ingilizce dersini/ingilizce dersi|
урок английского|(το) μάθημα αγγλικών;
(the) wedding|(die) hochzeit|(la) boda|düğünü/düğün|свадьбу/свадьба|(τον) γάμο/(ο) γάμος;
(the) job interview|(das) vorstellungsgespräch|(la) entrevista de trabajo|iş görüşmesini/iş görüşmesi|
собеседование|(τη) συνέντευξη/(η) συνέντευξη;
(the) training|(das) training|(el) entrenamiento|antrenmanı/antrenman|тренировку/тренировка|
(την) προπόνηση/(η) προπόνηση;
(the) film night|(den) filmabend/(der) filmabend|(la) noche de cine|film gecesini/film gecesi|киновечер|
(τη) βραδιά ταινίας/(η) βραδιά ταινίας;""",
    "news_topic": """
football|fußball|(el) fútbol|futbol|(о) футболе|(το) ποδόσφαιρο; science|(die) wissenschaft|(la) ciencia|
bilim|
(о) науке|(την) επιστήμη; politics|politik|(la) política|siyaset|(о) политике|(την) πολιτική;
music|musik|(la) música|müzik|(о) музыке|(τη) μουσική; (the) economy|(die) wirtschaft|(la) economía|ekonomi|
(об) экономике|(την) οικονομία; space|(den) weltraum|(el) espacio|uzay|(о) космосе|(το) διάστημα;
health|gesundheit|(la) salud|sağlık|(о) здоровье|(την) υγεία; art|kunst|(el) arte|sanat|(об) искусстве|
(την) τέχνη;""",
}

# Said before or after any phrase; the first of each is nothing.
OPENERS = "|||||;please|bitte|por favor|lütfen|пожалуйста|παρακαλώ; hello|hallo|hola|merhaba|привет|γεια σου;"
CLOSERS = (
    "|||||;please|bitte|por favor|lütfen|пожалуйста|παρακαλώ; thank you|danke|gracias|teşekkürler|спасибо|ευχαριστώ;"
)
